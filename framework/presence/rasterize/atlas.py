"""Texel centres of a UV atlas to points on the mesh surface (paper Eq. 1)."""

from __future__ import annotations

import torch

from presence.interfaces import MeshRasterizer
from presence.rasterize.build import AutoRasterizer
from presence.structures import Fragments, MeshTopology


def rasterize_uv(
    topology: MeshTopology, size: int, *, rasterizer: MeshRasterizer | None = None
) -> Fragments:
    """Finds the face and the barycentrics of every texel centre (paper Eq. 1).

    The atlas is drawn as a flat mesh with the same coverage rule as any other, so that a texel
    centre on an edge inside a chart belongs to exactly one face. Charts may be mirrored. Where
    charts overlap, the face with the lowest index keeps the texel.

    Args:
        topology: faces and texture coordinates of a body.
        size: texels a side, S; row = (1 - v) * S and column = u * S.
        rasterizer: default the one that fits the topology's device.

    Returns:
        Unbatched Fragments of S x S: `face_ids` index `topology.faces`; `barycentrics` are
        linear over the face; `depth` is 1 inside charts and +inf outside.

    Example:
        >>> topology = MeshTopology(
        ...     faces=torch.tensor([[0, 1, 2]]),
        ...     faces_uv=torch.tensor([[0, 1, 2]]),
        ...     uv=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        ...     num_vertices=3,
        ... )
        >>> rasterize_uv(topology, 3).face_ids.tolist()
        [[-1, -1, -1], [0, -1, -1], [0, 0, -1]]
    """
    u, v = topology.uv.float().unbind(-1)
    flat = torch.stack([u * size, (1 - v) * size, torch.ones_like(u)], dim=-1)  # [T, 3]
    rasterizer = rasterizer or AutoRasterizer()
    return rasterizer(flat, topology.faces_uv, size, size, cull_backfaces=False, orthographic=True)
