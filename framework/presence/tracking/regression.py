"""Robust ridge regression."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 4


def robust_ridge(rows: Tensor, goal: Tensor, ridge: float, robust: float) -> Tensor:
    """Fits a linear map by iteratively reweighted least squares.

    Args:
        rows: [M F+1] float64, a one last, whose coefficient is free.
        goal: [M D] float64.
        ridge: pull of coefficients towards zero, in observations of one deviation.
        robust: length of a residual well beyond which an observation counts little.

    Returns:
        [F+1 D].

    Source: Geman and McClure 1985; Holland and Welsch 1977 on the reweighting.
    """
    pull = ridge_pull(rows.shape[1], ridge)
    residual = goal - goal.median(0).values
    for _ in range(_ROUNDS):
        weights = (1 + residual.square().sum(-1) / robust**2) ** -2
        weighted = rows * weights[:, None]
        found = torch.linalg.solve(weighted.T @ rows + pull, weighted.T @ goal)
        residual = goal - rows @ found
    return found


def ridge_pull(size: int, strength: float) -> Tensor:
    """Returns the ridge [size size] that leaves the last coefficient, the constant, free."""
    pull = strength * torch.eye(size, dtype=torch.float64)
    pull[-1, -1] = 1e-6
    return pull
