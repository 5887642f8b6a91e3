"""Estimators that place a joint instead of the body: from its position to SMPL-X's translation."""

from __future__ import annotations

import torch

from presence.interfaces import Body
from presence.structures import BodyParams, Estimate


def resolve_anchor(estimate: Estimate, body: Body) -> BodyParams:
    """Returns an estimate's parameters with SMPL-X's own translation, sized for a body.

    Coefficients that the estimate lacks are zero; those that the body lacks are left out. The
    world stays the camera. The joint comes to the same place whichever body is posed, so that
    another body may stand in for SMPL-X.

    Args:
        estimate: unbatched.
        body: the body to pose.
    """
    params = estimate.body.replace(
        betas=_sized(estimate.body.betas, body.num_betas),
        expression=_sized(estimate.body.expression, body.num_expression),
    )
    if estimate.anchor is None:
        return params
    placed = params.replace(translation=torch.zeros_like(params.translation))
    with torch.no_grad():
        joint = body(placed).joints[estimate.anchor]
    return params.replace(translation=params.translation - joint)


def _sized(values: torch.Tensor, size: int) -> torch.Tensor:
    kept = values[..., :size]
    return torch.nn.functional.pad(kept, (0, size - kept.shape[-1]))
