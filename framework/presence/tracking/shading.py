"""A plain shaded picture of a body: for overlays, and to derive landmarks on rendered people."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.bodies import Body
from presence.geometry import vertex_normals
from presence.rasterize import MeshRasterizer, interpolate
from presence.structures import Camera, Fragments, MeshTopology, ProxyMesh

EYE_WHITE = (0.92, 0.91, 0.9)
PUPIL = (0.03, 0.03, 0.03)


@dataclasses.dataclass(frozen=True)
class ShadedView:
    """A shaded rendering and what lies behind each pixel.

    Attributes:
        rgb: [3 H W] in 0..1.
        alpha: [1 H W], 1 where the body is.
        fragments: unbatched.
        normals: [V 3] unit, world.
    """

    rgb: Tensor
    alpha: Tensor
    fragments: Fragments
    normals: Tensor


def shade(
    mesh: ProxyMesh,
    camera: Camera,
    topology: MeshTopology,
    rasterizer: MeshRasterizer,
    colors: Tensor,
    *,
    background: Tensor | None = None,
    light: tuple[float, float, float] = (0.3, 0.5, 1.0),
    ambient: float = 0.4,
) -> ShadedView:
    """Shades one mesh with one directional light (Lambert).

    Args:
        mesh: unbatched, world metres.
        camera: unbatched.
        topology: of the mesh.
        rasterizer: any backend.
        colors: [V 3] in 0..1, or [H W 3] already at the pixels.
        background: [3], or a picture [3 H W]; black if None.
        light: direction to the light, world axes.
        ambient: share of light that comes from everywhere.
    """
    height, width = camera.height, camera.width
    screen = camera.screen(mesh.vertices)[None]
    fragments = rasterizer(screen, topology.faces, height, width)[0]
    normals = vertex_normals(mesh.vertices, topology.faces)
    direction = torch.nn.functional.normalize(normals.new_tensor(light), dim=0)
    lit = ambient + (1 - ambient) * (normals @ direction).clamp_min(0)  # [V]
    shading = interpolate(fragments, topology.faces, lit[:, None])  # [H W 1]
    if colors.ndim == 2:
        colors = interpolate(fragments, topology.faces, colors)
    hit = (fragments.face_ids >= 0)[None]  # [1 H W]
    behind = colors.new_zeros(3) if background is None else background
    behind = behind.reshape(3, 1, 1) if behind.ndim == 1 else behind
    rgb = torch.where(hit, (colors * shading).permute(2, 0, 1).clamp(0, 1), behind)
    return ShadedView(rgb, hit.to(rgb.dtype), fragments, normals)


def paint_eyes(
    body: Body,
    mesh: ProxyMesh,
    fragments: Fragments,
    colors: Tensor,
    iris: tuple[float, float, float] = (0.25, 0.15, 0.08),
) -> Tensor:
    """Paints eye white, iris and pupil at the pixels.

    The angle from the eyeball's forward pole decides, measured in the rest pose, so that the
    iris turns with the eye. A human iris has a radius of 5.9 mm, whatever the face's size.

    Args:
        body: for its eye vertices.
        mesh: unbatched.
        fragments: unbatched, of the mesh.
        colors: [H W 3], copied.
        iris: its colour.

    Returns:
        [H W 3].
    """
    painted = colors.clone()
    faces = body.topology.faces
    for side in ("left", "right"):
        members = torch.zeros(mesh.vertices.shape[0], 1)
        members[body.vertex_parts[f"{side}_eye"]] = 1.0
        on_eye = interpolate(fragments, faces, members)[..., 0] > 0.99
        rest = interpolate(fragments, faces, mesh.rest_vertices)
        centre, radius = eyeball(body, mesh.rest_vertices, side)
        direction = torch.nn.functional.normalize(rest - centre, dim=-1)
        angle = torch.arccos(direction[..., 2].clamp(-1, 1))
        limit = torch.arcsin((0.0059 / radius).clamp(max=0.9))
        ring = torch.where(
            (angle < 0.45 * limit)[..., None], torch.tensor(PUPIL), torch.tensor(iris)
        )
        eye = torch.where((angle < limit)[..., None], ring, torch.tensor(EYE_WHITE))
        painted = torch.where(on_eye[..., None], eye, painted)
    return painted


def eyeball(body: Body, rest_vertices: Tensor, side: str) -> tuple[Tensor, Tensor]:
    """Returns centre [3] and radius of an eyeball of a rest mesh [V 3], metres."""
    points = rest_vertices[body.vertex_parts[f"{side}_eye"]]
    centre = (points.amax(0) + points.amin(0)) / 2
    return centre, (points - centre).norm(dim=-1).median()
