"""The surface map: every texel inside a chart and its point on the body (paper Eq. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from presence.geometry import vertex_normals
from presence.rasterize import rasterize_uv
from presence.structures import MeshTopology, SurfaceBinding


class SurfaceMap(nn.Module):
    """Points p_i on the body surface, one a texel inside a chart, with their UV (paper Eq. 1).

    Holds only constants, none of which is saved with a model.

    Args:
        topology: the body's faces and texture coordinates.
        size: S, side of the attribute maps in texels; S = 512 gives at most 262,144 points.

    Attributes:
        texels: [N] flat index (row * S + column) of each point's texel.
        face_ids: [N] the triangle each point lies in.
        vertex_ids: [N 3] its corners.
        barycentrics: [N 3] its weights.
    """

    faces: Tensor
    texels: Tensor
    face_ids: Tensor
    vertex_ids: Tensor
    barycentrics: Tensor
    uv: Tensor
    along_u: Tensor
    along_v: Tensor
    _chart_of_face: Tensor
    pairs_u: Tensor
    pairs_v: Tensor

    def __init__(self, topology: MeshTopology, size: int) -> None:
        super().__init__()
        self.size = size
        fragments = rasterize_uv(topology, size)
        inside = (fragments.face_ids >= 0).flatten()
        texels = inside.nonzero()[:, 0]
        face_ids = fragments.face_ids.flatten()[texels].long()
        barycentrics = fragments.barycentrics.reshape(-1, 3)[texels].float()
        corners_uv = topology.uv[topology.faces_uv[face_ids]].double()  # [N 3 2]
        constants = dict(
            faces=topology.faces,
            texels=texels,
            face_ids=face_ids,
            vertex_ids=topology.faces[face_ids],
            barycentrics=barycentrics,
            uv=(corners_uv * barycentrics[..., None]).sum(1).float(),
        )
        constants["along_u"], constants["along_v"] = _uv_derivative_weights(corners_uv)
        constants["_chart_of_face"] = _charts(topology.faces_uv)
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        chart = self.to_map(self.charts[:, None] + 1)[0]  # [S S], 0 beside all charts
        beside = (chart[:, 1:] > 0) & (chart[:, 1:] == chart[:, :-1])
        below = (chart[1:] > 0) & (chart[1:] == chart[:-1])
        self.register_buffer("pairs_u", beside, persistent=False)  # [S S-1] neighbours in a chart
        self.register_buffer("pairs_v", below, persistent=False)  # [S-1 S]

    def __len__(self) -> int:
        return self.texels.shape[0]

    @property
    def binding(self) -> SurfaceBinding:
        """The points as a binding for an avatar's Gaussians."""
        return SurfaceBinding(self.vertex_ids, self.barycentrics, self.uv)

    @property
    def charts(self) -> Tensor:
        """[N] number of the chart that holds each point: a connected part of the UV layout."""
        return self._chart_of_face[self.face_ids]

    def cells(self, grid: int) -> Tensor:
        """Returns [N] the flat cell of a `grid` x `grid` UV grid that holds each point."""
        row, column = self.texels // self.size, self.texels % self.size
        return (row * grid // self.size) * grid + column * grid // self.size

    def to_map(self, values: Tensor) -> Tensor:
        """Spreads values [... N C] of the points into maps [... C S S], zero outside charts."""
        shape = (*values.shape[:-2], self.size**2, values.shape[-1])
        spread = values.new_zeros(shape).index_copy(-2, self.texels, values)
        return spread.transpose(-1, -2).unflatten(-1, (self.size, self.size))

    def from_map(self, maps: Tensor) -> Tensor:
        """Gathers the points' values [... N C] from maps [... C S S]."""
        return maps.flatten(-2).index_select(-1, self.texels).transpose(-1, -2)

    def differences(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns differences of values [... N C] between neighbouring texels of one chart.

        Returns:
            [... C S S-1] along u and [... C S-1 S] along v; zero where there is no such pair.
        """
        maps = self.to_map(values)
        return maps.diff(dim=-1) * self.pairs_u, maps.diff(dim=-2) * self.pairs_v

    def variation(self, values: Tensor) -> Tensor:
        """Returns the total variation [...] of values [... N C]: the mean slope in a chart.

        A slope is the sum over channels of the absolute difference between neighbours, per side
        of the map, so that maps of all sizes compare.
        """
        total = sum(part.abs().sum((-3, -2, -1)) for part in self.differences(values))
        return self.size * total / (self.pairs_u.sum() + self.pairs_v.sum())

    def tangent_frames(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns frames and spacing of the points on a mesh [... V 3].

        Returns:
            world_from_tangent: [... N 3 3], columns along u, along v and outwards.
            spacing: [... N 2] metres between neighbouring texels along u and v.
        """
        normals = vertex_normals(vertices, self.faces)
        along_u = self._combine(vertices, self.along_u)
        along_v = self._combine(vertices, self.along_v)
        normal = F.normalize(self._combine(normals, self.barycentrics), dim=-1)
        tangent = along_u - (along_u * normal).sum(-1, keepdim=True) * normal
        tangent = F.normalize(tangent, dim=-1)
        bitangent = torch.linalg.cross(normal, tangent)
        spacing = torch.stack([along_u.norm(dim=-1), along_v.norm(dim=-1)], -1) / self.size
        return torch.stack([tangent, bitangent, normal], -1), spacing

    def _combine(self, vertex_values: Tensor, weights: Tensor) -> Tensor:
        return SurfaceBinding(self.vertex_ids, weights, self.uv).interpolate(vertex_values)

    def extra_repr(self) -> str:
        """Shows size and count in the printed module."""
        return f"size={self.size}, points={len(self)}"


def _charts(faces_uv: Tensor) -> Tensor:
    """Numbers the charts [F] of triangles [F 3] that share texture vertices."""
    corners = faces_uv.cpu().numpy()
    edges = np.concatenate([corners[:, :2], corners[:, 1:]])
    count = int(corners.max()) + 1
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    labels = connected_components(graph, directed=False)[1]
    return torch.from_numpy(labels[corners[:, 0]]).long().to(faces_uv.device)


def _uv_derivative_weights(corners_uv: Tensor) -> tuple[Tensor, Tensor]:
    """Returns weights [N 3] w with dP/du = sum_k w_k P_k inside each triangle, and for v."""
    edge1, edge2 = corners_uv[:, 1] - corners_uv[:, 0], corners_uv[:, 2] - corners_uv[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    area = torch.where(area.abs() < 1e-12, torch.full_like(area, 1e-12), area)
    u1, u2 = edge2[:, 1] / area, -edge1[:, 1] / area
    v1, v2 = -edge2[:, 0] / area, edge1[:, 0] / area
    along_u = torch.stack([-u1 - u2, u1, u2], -1).float()
    along_v = torch.stack([-v1 - v2, v1, v2], -1).float()
    return along_u, along_v


def build_surface(body: Any, size: int) -> SurfaceMap:
    """Returns the surface map of a body model at `size` texels a side."""
    return SurfaceMap(body.topology.to("cpu"), size)
