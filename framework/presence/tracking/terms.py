"""The residuals of body fitting, each with its derivative, in units of a standard deviation."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.geometry import matrix_to_axis_angle
from presence.tracking.rig import Active, FitState, RigPoints
from presence.tracking.solver import Term

_LIMIT_SIGMA = 0.08  # rad beyond a joint's limit that count as one standard deviation


@dataclasses.dataclass(frozen=True)
class PinholeView:
    """A camera at the origin of the fitting world, which looks along -z with +y up.

    Attributes:
        focal: px.
        centre: [2] px.
    """

    focal: float
    centre: Tensor

    def project(self, rig: RigPoints) -> tuple[Tensor, Tensor | None, Tensor]:
        """Returns pixels [N 2], their derivative [N 2 P] (or None) and depths [N] (m)."""
        flip = rig.points.new_tensor([1.0, -1.0, -1.0])
        cam = rig.points * flip
        depth = cam[:, 2].clamp_min(1e-3)
        rays = cam[:, :2] / depth[:, None]
        px = self.focal * rays + self.centre
        if rig.jacobian is None:
            return px, None, depth
        moved = rig.jacobian * flip[:, None]
        slope = moved[:, :2] - rays[..., None] * moved[:, 2:]
        return px, self.focal * slope / depth[:, None, None], depth


def keypoint_term(
    px: Tensor,
    jacobian: Tensor | None,
    target: Tensor,
    weights: Tensor,
    sigma: Tensor,
    robust: float,
) -> Term:
    """Distances between projected and detected landmarks.

    Args:
        px: [N 2] projected.
        jacobian: [N 2 P] or None.
        target: [N 2] detected, px.
        weights: [N].
        sigma: [N] px.
        robust: in standard deviations.
    """
    scaled = None if jacobian is None else jacobian / sigma[:, None, None]
    return Term((px - target) / sigma[:, None], scaled, weights, robust)


def direction_term(
    rig: RigPoints,
    starts: Tensor,
    ends: Tensor,
    target: Tensor,
    weights: Tensor,
    sigma: float,
    robust: float | None = 2.0,
) -> Term:
    """Differences between bone directions and given unit vectors.

    Args:
        rig: points in the world.
        starts: [M N] rows that average points to a bone's start.
        ends: [M N] likewise, its end.
        target: [M 3] unit vectors, world axes.
        weights: [M].
        sigma: rad.
        robust: in standard deviations, None for plain squares.
    """
    pick = ends - starts
    bones = pick @ rig.points
    length = bones.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    unit = bones / length
    jacobian = None
    if rig.jacobian is not None:
        moved = torch.einsum("mn,nip->mip", pick, rig.jacobian)
        across = torch.eye(3, dtype=unit.dtype) - unit[:, :, None] * unit[:, None, :]
        jacobian = across @ moved / (length[..., None] * sigma)
    return Term((unit - target) / sigma, jacobian, weights, robust)


def pose_prior_term(
    state: FitState, active: Active | None, mean: Tensor, sigma: Tensor, strength: Tensor
) -> Term:
    """Distances of joint rotations from their usual values.

    Args:
        state: rotations.
        active: of the step, or None.
        mean: [55 3] axis-angle, rad.
        sigma: [55 3] rad.
        strength: [55] factors on the squares.
    """
    angles = matrix_to_axis_angle(state.rotations)
    residuals = (angles - mean) / sigma
    jacobian = None
    if active is not None:
        jacobian = _angle_columns(angles, active) / sigma[..., None]
    return Term(residuals, jacobian, strength)


def joint_limit_term(state: FitState, active: Active | None, limits: Tensor) -> Term:
    """How far axis-angle components lie beyond their limits.

    Args:
        state: rotations.
        active: of the step, or None.
        limits: [2 55 3] lower and upper, rad.
    """
    angles = matrix_to_axis_angle(state.rotations)
    beyond = angles - angles.clamp(limits[0], limits[1])
    jacobian = None
    if active is not None:
        outside = (beyond != 0).to(angles.dtype)[..., None]
        jacobian = _angle_columns(angles, active) * outside / _LIMIT_SIGMA
    return Term(beyond / _LIMIT_SIGMA, jacobian, torch.ones(len(angles), dtype=angles.dtype))


def coefficient_term(
    values: Tensor, active: Active | None, indices: tuple[int, ...], start: int, scale: Tensor
) -> Term:
    """Coefficients [C] times `scale` [C], one residual each.

    Args:
        values: [C].
        active: of the step, or None.
        indices: which coefficients the step holds.
        start: where they begin in the step.
        scale: one over each coefficient's standard deviation.
    """
    jacobian = None
    if active is not None:
        jacobian = torch.zeros(len(values), 1, active.size, dtype=values.dtype)
        chosen = list(indices)
        jacobian[chosen, 0, start + torch.arange(len(chosen))] = scale[chosen]
    ones = torch.ones(len(values), dtype=values.dtype)
    return Term((values * scale)[:, None], jacobian, ones)


def bound_term(
    values: Tensor, active: Active | None, indices: tuple[int, ...], start: int, sigma: float
) -> Term:
    """How far coefficients [C] lie outside 0..1."""
    beyond = values - values.clamp(0, 1)
    scale = (beyond != 0).to(values.dtype) / sigma
    term = coefficient_term(values, active, indices, start, scale)
    return dataclasses.replace(term, residuals=(beyond / sigma)[:, None])


def _angle_columns(angles: Tensor, active: Active) -> Tensor:
    """d(axis-angle [55 3])/d(step), with the step's rotation applied in the parent's axes."""
    jacobian = torch.zeros(*angles.shape, active.size, dtype=angles.dtype)
    inverse = left_jacobian_inverse(angles)
    for position, joint in enumerate(active.joints):
        jacobian[joint, :, 3 * position : 3 * position + 3] = inverse[joint]
    return jacobian


def left_jacobian_inverse(angles: Tensor) -> Tensor:
    """Returns d log(exp(w) exp(a))/dw at w = 0, for axis-angles a [... 3]: [... 3 3].

    Source: Sola et al., "A micro Lie theory for state estimation in robotics", Eq. 146.
    """
    x, y, z = angles.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    cross = torch.stack(rows, -2)
    square = angles.square().sum(-1)
    small = square < 1e-6
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    factor = 1 / angle.square() - (1 + torch.cos(angle)) / (2 * angle * torch.sin(angle))
    factor = torch.where(small, 1 / 12 + square / 720, factor)
    identity = torch.eye(3, dtype=angles.dtype, device=angles.device)
    return identity - 0.5 * cross + factor[..., None, None] * (cross @ cross)
