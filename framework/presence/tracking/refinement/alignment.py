"""Affine maps and similarities between corresponding points, by least squares."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_affine(source: Tensor, target: Tensor) -> Tensor:
    """Returns the affine map [3 4] that brings points [N 3] nearest to target [N 3].

    Example:
        >>> points = torch.rand(9, 3)
        >>> torch.allclose(fit_affine(points, 2 * points + 1), torch.tensor(
        ...     [[2., 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 1]]), atol=1e-4)
        True
    """
    extended = torch.cat([source, torch.ones_like(source[:, :1])], -1).double()
    return torch.linalg.lstsq(extended, target.double()).solution.T.to(source)


def fit_similarity(source: Tensor, target: Tensor) -> Tensor:
    """Returns the size and shift [3 4] that bring points [N 3] nearest to target [N 3]; no turn.

    Example:
        >>> points = torch.rand(9, 3)
        >>> torch.allclose(fit_similarity(points, 2 * points + 1), torch.tensor(
        ...     [[2., 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 1]]), atol=1e-4)
        True
    """
    first, second = source.double(), target.double()
    middles = first.mean(0), second.mean(0)
    centred = first - middles[0]
    size = (centred * (second - middles[1])).sum() / centred.square().sum()
    turn = size * torch.eye(3, dtype=size.dtype, device=size.device)
    return torch.cat([turn, (middles[1] - size * middles[0])[:, None]], -1).to(source)


def transformed(affine: Tensor, points: Tensor) -> Tensor:
    """Returns points [... 3] mapped by an affine map [3 4]."""
    return points @ affine[:, :3].T + affine[:, 3]
