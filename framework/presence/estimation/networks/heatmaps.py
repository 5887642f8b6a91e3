"""Coordinates out of heat maps, and features at coordinates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_argmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the expected cell of each heat map, and the probabilities.

    Args:
        logits: [B K D h w] or, flat, [B K h w].

    Returns:
        ([B K 3] or [B K 2], x first, in cells from 0; probabilities, shaped as `logits`).

    Example:
        >>> soft_argmax(torch.zeros(1, 1, 3, 5))[0].tolist()
        [[[2.0, 1.0]]]
    """
    axes = logits.ndim - 2
    probability = logits.flatten(2).softmax(-1).view_as(logits)
    means = []
    for axis in range(axes):  # the last axis is x
        others = tuple(2 + other for other in range(axes) if other != axes - 1 - axis)
        cells = torch.arange(logits.shape[-1 - axis], dtype=logits.dtype, device=logits.device)
        means.append((probability.sum(others) * cells).sum(-1))
    return torch.stack(means, -1), probability


def sample_cells(maps: Tensor, cells: Tensor) -> Tensor:
    """Samples maps [B C h w] bilinearly at cells [B K 2] (x, y from 0), zero outside: [B K C]."""
    height, width = maps.shape[-2:]
    last = torch.tensor([width - 1, height - 1], dtype=maps.dtype, device=maps.device)
    grid = (cells / last * 2 - 1)[:, :, None]  # [B K 1 2]
    return F.grid_sample(maps, grid, align_corners=True)[..., 0].transpose(1, 2)
