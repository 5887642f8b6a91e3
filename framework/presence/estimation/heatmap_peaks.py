"""Heat maps to points between their cells, without the bias of rounding to a cell."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def refined_peaks(heatmaps: Tensor, *, kernel: int = 11) -> tuple[Tensor, Tensor]:
    """Finds each map's largest value and takes one Newton step on its blurred logarithm.

    Source: DARK (Zhang et al., 2020) in the unbiased form of UDP (Huang et al., 2020).

    Args:
        heatmaps: [K h w].
        kernel: cells of the Gaussian blur, odd.

    Returns:
        [K 2] column and row, from 0 at the first cell's centre; [K] largest values.
    """
    count, height, width = heatmaps.shape
    largest, flat = heatmaps.flatten(1).max(-1)
    column, row = flat % width, flat // width
    logs = _blurred(heatmaps, kernel).clamp(1e-3, 50).log()
    padded = F.pad(logs[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    index = torch.arange(count, device=heatmaps.device)

    def at(dx: int, dy: int) -> Tensor:
        return padded[index, row + 1 + dy, column + 1 + dx]

    slope = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1) / 2
    xx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    yy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    # The mixed difference of seven cells that UDP uses, not that of four corners.
    xy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    hessian = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)
    hessian = hessian + torch.finfo(torch.float32).eps * torch.eye(2).to(hessian)
    step = torch.linalg.pinv(hessian) @ slope[..., None]
    return torch.stack([column, row], -1) - step[..., 0], largest


def _blurred(heatmaps: Tensor, kernel: int) -> Tensor:
    """Blurs [K h w] and scales each map so that its largest value stays."""
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8  # OpenCV's rule for a kernel's size
    offsets = torch.arange(kernel, device=heatmaps.device) - kernel // 2
    weights = torch.exp(-(offsets.to(heatmaps) ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    half = kernel // 2
    maps = F.pad(heatmaps[:, None], (half, half, half, half))
    maps = F.conv2d(F.conv2d(maps, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))[:, 0]
    largest = heatmaps.flatten(1).amax(-1) / maps.flatten(1).amax(-1).clamp_min(1e-12)
    return maps * largest[:, None, None]
