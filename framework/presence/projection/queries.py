"""Points on a body's surface that query-based decoders ask about, as bindings for their Gaussians.

All of them depend on the body model alone, never on a person: the same seed gives the same points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from presence.errors import ConfigError, did_you_mean
from presence.structures import MeshTopology, SurfaceBinding


class BoundPoints(nn.Module):
    """Points on the surface as constants that move with a module and are not saved.

    Args:
        binding: the points.
    """

    vertex_ids: Tensor
    barycentrics: Tensor
    uv: Tensor

    def __init__(self, binding: SurfaceBinding) -> None:
        super().__init__()
        for name in ("vertex_ids", "barycentrics", "uv"):
            self.register_buffer(name, getattr(binding, name), persistent=False)

    def __len__(self) -> int:
        return self.vertex_ids.shape[0]

    @property
    def binding(self) -> SurfaceBinding:
        """The points, in float32 also where the module is cast."""
        return SurfaceBinding(self.vertex_ids, self.barycentrics.float(), self.uv.float())


def sample_surface(
    topology: MeshTopology,
    vertices: Tensor,
    count: int,
    *,
    inside: Tensor | None = None,
    seed: int = 0,
) -> SurfaceBinding:
    """Draws points evenly by area.

    Args:
        topology: the body's faces and texture coordinates.
        vertices: [V 3] the average person, whose areas count.
        count: points to draw.
        inside: [V] bool; only faces with most corners inside are drawn from, so that a part and
            its complement share the surface without a gap. None for all.
        seed: of the draw.

    Raises:
        ValueError: no face lies inside.
    """
    faces = topology.faces.cpu()
    corners = vertices.detach().cpu().double()[faces]  # [F 3 3]
    edges = corners[:, 1:] - corners[:, :1]
    areas = torch.linalg.cross(edges[:, 0], edges[:, 1]).norm(dim=-1)
    if inside is not None:
        areas = areas * (inside.cpu()[faces].sum(-1) >= 2)
    if areas.sum() <= 0:
        raise ValueError("no face of the body lies inside the part to sample")
    # One stratified uniform number a point: areas of any size get their share to within one point.
    generator = np.random.Generator(np.random.PCG64(seed))
    where = (np.arange(count) + generator.random(count)) / count
    total = torch.cumsum(areas, 0)
    chosen = torch.searchsorted(total, torch.from_numpy(where) * total[-1])
    root, split = np.sqrt(generator.random(count)), generator.random(count)
    weights = np.stack([1 - root, root * (1 - split), root * split], -1)
    return _bind(topology, chosen.clamp(max=len(faces) - 1), torch.from_numpy(weights).float())


def subdivided_vertices(topology: MeshTopology, inside: Tensor | None = None) -> SurfaceBinding:
    """Returns the vertices of a part and the midpoints of its edges: one subdivision.

    Args:
        topology: the body's faces and texture coordinates.
        inside: [V] bool; the part is the faces whose three corners are inside. None for all.

    Returns:
        The vertices in ascending order, then the midpoints; points that belong to several faces
        are bound to the first.
    """
    faces = topology.faces.cpu()
    kept = torch.arange(len(faces))
    if inside is not None:
        kept = inside.cpu()[faces].all(-1).nonzero()[:, 0]
    corner_ids = faces[kept].reshape(-1).numpy()  # corner c of face f at 3 f + c
    _, at = np.unique(corner_ids, return_index=True)
    pairs = torch.stack([faces[kept], faces[kept].roll(-1, 1)], -1)  # [f 3 2], edge c to c + 1
    _, edge_at = np.unique(pairs.sort(-1)[0].reshape(-1, 2).numpy(), axis=0, return_index=True)
    eye = torch.eye(3)
    middles = (eye + eye.roll(-1, 0)) / 2  # row c: halfway from corner c to corner c + 1
    vertex_at, middle_at = torch.from_numpy(at), torch.from_numpy(edge_at)
    face = kept[torch.cat([vertex_at, middle_at]) // 3]
    return _bind(topology, face, torch.cat([eye[vertex_at % 3], middles[middle_at % 3]]))


def join(*bindings: SurfaceBinding) -> SurfaceBinding:
    """Returns the points of several bindings one after another."""
    return SurfaceBinding(
        torch.cat([b.vertex_ids for b in bindings]),
        torch.cat([b.barycentrics for b in bindings]),
        torch.cat([b.uv for b in bindings]),
    )


def part_vertices(parts: Mapping[str, Tensor], names: Iterable[str], num_vertices: int) -> Tensor:
    """Returns [V] bool, the vertices of the named parts.

    Raises:
        ConfigError: the body has no such part.
    """
    inside = torch.zeros(num_vertices, dtype=torch.bool)
    for name in names:
        if name not in parts:
            raise ConfigError(
                f"the body has no part `{name}`.{did_you_mean(name, parts)} "
                f"Parts: {', '.join(parts)}."
            )
        inside[parts[name].cpu()] = True
    return inside


def points_inside(binding: SurfaceBinding, inside: Tensor) -> Tensor:
    """Returns [N] bool, the points that lie mostly on vertices [V] that are inside."""
    share = inside.to(binding.barycentrics)[binding.vertex_ids] * binding.barycentrics
    return share.sum(-1) > 0.5


def _bind(topology: MeshTopology, face: Tensor, weights: Tensor) -> SurfaceBinding:
    corners = topology.uv.cpu()[topology.faces_uv.cpu()[face]]  # [N 3 2]
    uv = (corners * weights[..., None]).sum(1).float()
    return SurfaceBinding(topology.faces.cpu()[face].long(), weights, uv)
