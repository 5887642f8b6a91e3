"""Vertex attributes to pixels: the differentiable half of mesh rendering."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.structures import Fragments


def interpolate(fragments: Fragments, faces: Tensor, vertex_attributes: Tensor) -> Tensor:
    """Blends per-vertex attributes over each pixel's face.

    Differentiable in `vertex_attributes` (and in the barycentrics, should they carry a graph).

    Args:
        fragments: [B] or unbatched, from a `MeshRasterizer`.
        faces: [F 3] rows of `vertex_attributes`; `faces_uv` interpolates UV just as well.
        vertex_attributes: [B V C], or [V C] to share them over the batch.

    Returns:
        [B H W C] (or [H W C]), zero where there is background.

    Raises:
        ValueError: the batch sizes do not fit.

    Example:
        >>> fragments = Fragments(
        ...     face_ids=torch.tensor([[0, -1]]),
        ...     barycentrics=torch.tensor([[[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]]]),
        ...     depth=torch.ones(1, 2),
        ... )
        >>> interpolate(fragments, torch.tensor([[0, 1, 2]]), torch.eye(3)).tolist()
        [[[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]]]
    """
    batch, shape = fragments.batch_shape, fragments.face_ids.shape
    lead, (count, channels) = vertex_attributes.shape[:-2], vertex_attributes.shape[-2:]
    if lead not in ((), batch):
        raise ValueError(
            f"vertex_attributes should be [V C] or have the fragments' batch axes {tuple(batch)}, "
            f"but has shape {tuple(vertex_attributes.shape)}"
        )
    if not faces.shape[0]:
        return vertex_attributes.new_zeros(*shape, channels)
    table = vertex_attributes.reshape(-1, channels)  # [B*V, C]
    hit = fragments.face_ids >= 0
    corners = faces[fragments.face_ids.clamp(min=0)]  # [B, H, W, 3]
    if lead:
        meshes = torch.arange(lead.numel(), device=table.device).reshape(*lead, 1, 1, 1)
        corners = corners + meshes * count
    weights = fragments.barycentrics.to(table.dtype)
    blended = sum(
        weights[..., k, None]
        * table.index_select(0, corners[..., k].reshape(-1)).reshape(*shape, channels)
        for k in range(3)
    )
    return torch.where(hit[..., None], blended, 0)
