"""Putting a rendering and a photograph over one background, so that numbers mean the person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from presence.evaluation.metrics import Metric
from presence.structures import Portrait, Rendering


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two batches of pictures that may differ only inside the mask.

    Attributes:
        prediction: [B 3 H W] rendering over the background.
        target: [B 3 H W] photograph over the background.
        mask: [B 1 H W] bool, the union of both masks.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor

    def measure(self, metrics: Sequence[Metric]) -> dict[str, Tensor]:
        """Returns metric name to values [B]."""
        return {m.name: m(self.prediction, self.target, self.mask) for m in metrics}


def compare_views(
    rendering: Rendering, portrait: Portrait, *, background: float = 1.0
) -> Comparison:
    """Prepares a rendering and the true picture for masked metrics.

    Both are composited over the same constant grey by their own alpha, and set to exactly that
    grey outside the union of the masks (alpha >= 0.5): a missing arm and an invented one both
    cost, the original background does not.

    Args:
        rendering: batched, drawn over black (premultiplied).
        portrait: batched alike, same size.
        background: grey level; white by default, as most of the field reports.
    """
    mask = union_mask(rendering.alpha, portrait.alpha)
    grey = torch.full_like(portrait.rgb, background)
    prediction = rendering.rgb + (1 - rendering.alpha) * background
    target = composite(portrait, background)
    return Comparison(
        prediction=torch.where(mask, prediction, grey).clamp(0, 1),
        target=torch.where(mask, target, grey).clamp(0, 1),
        mask=mask,
    )


def composite(portrait: Portrait, background: float = 1.0) -> Tensor:
    """Returns the person of a portrait over a constant grey [... 3 H W]."""
    return portrait.rgb * portrait.alpha + (1 - portrait.alpha) * background


def union_mask(first: Tensor, second: Tensor) -> Tensor:
    """Returns where either alpha [... 1 H W] is at least one half, as bool."""
    return (first >= 0.5) | (second >= 0.5)
