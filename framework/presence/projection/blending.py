"""Several portraits of one person, blended where they meet: in UV (design section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from presence.structures import UVFeatures

_MAPS = ("core", "shell", "texels")
_FLAG = "_seen"  # of each map, the field that says how well its cells were seen


def blend_uv(
    views: UVFeatures, weights: Sequence[float] | None = None, *, sharpness: float = 2.0
) -> UVFeatures:
    """Averages the UV features of K portraits: U = sum_k w_k U_k / sum_k w_k, cell by cell.

    w_k is the view's weight times its `seen` value to the power of `sharpness`, so views that do
    not see a cell take no part in it. For texels `seen` is the cosine of the viewing angle: a
    square look outweighs a grazing one. What is seen by one view alone keeps that view's values.

    Args:
        views: [K] portraits of one person, from a projector.
        weights: trust in each portrait, 0 or more; equal if None.
        sharpness: 0 averages all views that see a cell alike*; large values take the best view.

    Returns:
        The blend, without the axis of the portraits; a cell's `seen` is the best view's, among
        those of positive weight.
    """
    count = views.batch_shape[0]
    given = views.core.new_ones(count) if weights is None else views.core.new_tensor(weights)
    trust = given.view(count, 1, 1, 1)
    blended: dict[str, Tensor] = {}
    for name in _MAPS:
        values, seen = getattr(views, name), getattr(views, name + _FLAG)
        best = (seen * (trust > 0)).amax(0)  # [1 U U]
        # Relative to the best view, so that no power underflows where all views are grazing.
        share = trust * (seen > 0) * (seen / best.clamp_min(1e-8)) ** sharpness  # [K 1 U U]
        total = share.sum(0)
        mean = (share * values).sum(0) / total.clamp_min(1e-30)
        blended[name] = torch.where(best > 0, mean, torch.zeros_like(mean))
        blended[name + _FLAG] = best
    return UVFeatures(**blended, settled=views.settled)
