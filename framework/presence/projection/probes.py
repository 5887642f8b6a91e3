"""Probes along the body's normals: how far hair and cloth reach, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.geometry import vertex_normals
from presence.projection.silhouette import probe_mask
from presence.projection.surface import SurfaceMap
from presence.structures import Camera, Portrait, ProxyMesh, SurfaceBinding


class MaskProbes(nn.Module):
    """Reads the portrait's mask along the normal of every UV cell's middle point.

    Args:
        surface: the texels' points on the body.
        grid: U, cells along a side of the map.
        distances: K stops along the normal, metres.
    """

    probed: Tensor
    distances: Tensor

    def __init__(self, surface: SurfaceMap, grid: int, distances: Sequence[float]) -> None:
        super().__init__()
        self.surface = surface
        self.register_buffer("probed", central_points(surface, grid), persistent=False)
        self.register_buffer("distances", torch.tensor(distances), persistent=False)

    @torch.no_grad()
    def forward(self, portrait: Portrait, posed: ProxyMesh, camera: Camera) -> Tensor:
        """Reads the mask along every cell's normal, and how squarely it faces the camera.

        Args:
            portrait: [B 3 H W].
            posed: the body in the portrait, [B].
            camera: the portrait's, [B].

        Returns:
            [B U*U K+1]: see `presence.projection.probe_mask`; last the cosine between the normal
            and the way to the camera. Zeros for cells without texels.
        """
        with torch.autocast(posed.vertices.device.type, enabled=False):
            chosen = self.probed.clamp_min(0)  # [U*U], -1 where a cell holds no texel
            whole = self.surface.binding
            binding = SurfaceBinding(
                whole.vertex_ids[chosen], whole.barycentrics[chosen], whole.uv[chosen]
            )
            points = binding.interpolate(posed.vertices)
            normals = binding.interpolate(vertex_normals(posed.vertices, self.surface.faces))
            normals = F.normalize(normals, dim=-1)
            values = probe_mask(portrait.alpha, points, normals, camera, self.distances)
            to_camera = camera.position[..., None, :] - points
            facing = F.cosine_similarity(normals, to_camera, dim=-1)[..., None]
            return torch.cat([values, facing], -1) * (self.probed >= 0)[:, None]


def central_points(surface: SurfaceMap, grid: int) -> Tensor:
    """Returns [grid^2] for each cell the point nearest to its middle, -1 where it holds none."""
    cells = surface.cells(grid)
    row, column = surface.texels // surface.size, surface.texels % surface.size
    side = surface.size / grid
    away = (row % side - side / 2 + 0.5).square() + (column % side - side / 2 + 0.5).square()
    nearest = torch.full((grid**2,), torch.inf).scatter_reduce(0, cells, away, "amin")
    best = (away == nearest[cells]).nonzero()[:, 0]
    chosen = torch.full((grid**2,), -1).scatter_reduce(0, cells[best], best, "amax")
    return chosen
