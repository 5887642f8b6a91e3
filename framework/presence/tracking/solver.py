"""Robust non-linear least squares: Levenberg-Marquardt over terms that bring their derivatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from presence.tracking.rig import Active, FitState


@dataclasses.dataclass(frozen=True)
class Term:
    """Some residuals of one kind.

    Attributes:
        residuals: [m d], d numbers that are judged together; 1 is one standard deviation.
        jacobian: [m d P], or None when only the cost was asked for.
        weights: [m] factors on the squared residuals.
        robust: residual length from which outliers count less and less, or None for plain squares.
    """

    residuals: Tensor
    jacobian: Tensor | None
    weights: Tensor
    robust: float | None = None

    def cost(self) -> Tensor:
        """Returns the sum of robust squares (Geman and McClure 1987)."""
        squares = self.residuals.square().sum(-1)
        if self.robust is not None:
            squares = squares / (1 + squares / self.robust**2)
        return (self.weights * squares).sum()

    def normal_equations(self) -> tuple[Tensor, Tensor]:
        """Returns the Gauss-Newton matrix [P P] and gradient [P], reweighted for robustness."""
        weights = self.weights
        if self.robust is not None:
            squares = self.residuals.square().sum(-1)
            weights = weights * (1 + squares / self.robust**2) ** -2
        if self.jacobian is None:
            raise ValueError("the term was built without derivatives")
        kept = weights > 0
        jacobian = self.jacobian[kept]
        weighted = (jacobian * weights[kept, None, None]).flatten(0, 1)  # [m*d P]
        matrix = weighted.T @ jacobian.flatten(0, 1)
        return matrix, weighted.T @ self.residuals[kept].flatten()


Objective = Callable[[FitState, Active | None], Sequence[Term]]


def minimize(
    objective: Objective,
    state: FitState,
    active: Active,
    *,
    iterations: int,
    damping: float = 1e-2,
    tolerance: float = 1e-4,
) -> FitState:
    """Improves a state by damped Gauss-Newton steps.

    Args:
        objective: state to terms; with `None` instead of an `Active`, without derivatives.
        state: the start.
        active: what may change.
        iterations: at most so many accepted or refused steps.
        damping: Marquardt's factor at the start, relative to the matrix's diagonal.
        tolerance: relative fall of the cost below which it stops.
    """
    cost = total_cost(objective(state, None))
    system = None
    for _ in range(iterations):
        if system is None:
            system = _assemble(objective(state, active), active.size)
        matrix, gradient = system
        diagonal = matrix.diagonal()
        damped = matrix + torch.diag(damping * diagonal + 1e-9 * diagonal.max().clamp_min(1.0))
        factor, info = torch.linalg.cholesky_ex(damped)
        if int(info):
            damping *= 10
            continue
        step = -torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        trial = active.apply(state, step)
        trial_cost = total_cost(objective(trial, None))
        if trial_cost < cost:
            done = cost - trial_cost < tolerance * cost
            state, cost, system, damping = trial, trial_cost, None, max(damping / 5, 1e-7)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e8:
                break
    return state


def total_cost(terms: Sequence[Term]) -> float:
    """Returns the sum of the terms' robust squares."""
    return float(sum(term.cost() for term in terms))


def _assemble(terms: Sequence[Term], size: int) -> tuple[Tensor, Tensor]:
    matrix = torch.zeros(size, size, dtype=torch.float64)
    gradient = torch.zeros(size, dtype=torch.float64)
    for term in terms:
        part, slope = term.normal_equations()
        matrix += part
        gradient += slope
    return matrix, gradient
