"""Gaussians wide enough to close the surface that they stand on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.projection.surface import SurfaceMap

_STRETCH = 1.2  # of the body's own spacing: where offsets tear the map, nothing is spanned


@torch.no_grad()
def gaps(surface: SurfaceMap, means: Tensor, surface_points: Tensor) -> Tensor:
    """Returns how far each Gaussian is from the farthest of its four neighbours [B N], metres.

    Offsets spread texels apart; up to 1.2 times the spacing on the body counts.

    Args:
        surface: the texels.
        means: [B N 3] centres of the Gaussians, metres.
        surface_points: [B N 3] points on the body that they are bound to.
    """
    apart = [d.norm(dim=-3, keepdim=True) for d in surface.differences(means)]
    usual = [d.norm(dim=-3, keepdim=True) for d in surface.differences(surface_points)]
    right, down = (torch.minimum(a, _STRETCH * u) for a, u in zip(apart, usual, strict=True))
    beside = torch.maximum(F.pad(right, (0, 1)), F.pad(right, (1, 0)))
    below = torch.maximum(F.pad(down, (0, 0, 0, 1)), F.pad(down, (0, 0, 1, 0)))
    return surface.from_map(torch.maximum(beside, below))[..., 0]


def cover(scales: Tensor, gap: Tensor, share: float) -> Tensor:
    """Returns scales [B N 3] whose first two, along the surface, are at least `share` of `gap`."""
    least = share * gap[..., None]
    return torch.cat([torch.maximum(scales[..., :2], least), scales[..., 2:]], -1)
