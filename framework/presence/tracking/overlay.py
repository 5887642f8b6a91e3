"""Draws a fitted body over its portrait, so that people can see whether it fits."""

from __future__ import annotations

from torch import Tensor

from presence.rasterize import MeshRasterizer
from presence.structures import Camera, Fragments, MeshTopology, Portrait, ProxyMesh
from presence.tracking.shading import shade

_SKIN = (0.55, 0.75, 1.0)
_LINE = (0.05, 0.15, 0.45)


def draw_overlay(
    portrait: Portrait,
    mesh: ProxyMesh,
    camera: Camera,
    topology: MeshTopology,
    rasterizer: MeshRasterizer,
    *,
    opacity: float = 0.5,
    wire: float = 0.35,
) -> Tensor:
    """Blends a shaded mesh with its edges over the portrait.

    Args:
        portrait: unbatched.
        mesh: unbatched, world metres.
        camera: unbatched, of the portrait's size.
        topology: of the mesh.
        rasterizer: any backend.
        opacity: of the shaded surface.
        wire: how much darker edges are drawn, 0 for none. Edges fade where triangles are smaller
            than a few pixels.

    Returns:
        [3 H W] in 0..1.

    Raises:
        ValueError: camera and portrait differ in size.
    """
    if (camera.height, camera.width) != portrait.size:
        raise ValueError(
            f"the camera has {camera.height} x {camera.width} px, the portrait {portrait.size}"
        )
    colors = portrait.rgb.new_tensor(_SKIN).expand(mesh.vertices.shape[0], 3)
    view = shade(mesh, camera, topology, rasterizer, colors, background=portrait.rgb, ambient=0.25)
    covered = view.alpha * opacity
    blended = portrait.rgb * (1 - covered) + view.rgb * covered
    edges = _edges(view.fragments, mesh, camera, topology) * view.alpha * wire
    line = portrait.rgb.new_tensor(_LINE).reshape(3, 1, 1)
    return (blended * (1 - edges) + line * edges).clamp(0, 1)


def _edges(fragments: Fragments, mesh: ProxyMesh, camera: Camera, topology: MeshTopology) -> Tensor:
    """Returns [1 H W], 1 on a triangle's edge, from each pixel's distance to it in pixels."""
    screen = camera.screen(mesh.vertices)[topology.faces][..., :2]  # [F 3 2]
    side = screen - screen.roll(-1, 1)
    doubled = side[:, 0, 0] * side[:, 1, 1] - side[:, 0, 1] * side[:, 1, 0]
    # A corner's height over the opposite edge: its barycentric times this is a pixel distance.
    opposite = side.roll(-1, 1).norm(dim=-1).clamp_min(1e-6)
    heights = doubled.abs()[:, None] / opposite  # [F 3]
    ids = fragments.face_ids.clamp_min(0)
    gaps = (fragments.barycentrics * heights[ids]).amin(-1)
    large = (heights[ids].amin(-1) / 6).clamp(0, 1)
    return ((1.0 - gaps).clamp(0, 1) * large * (fragments.face_ids >= 0))[None]
