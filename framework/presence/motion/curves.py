"""Smooth curves over time, from which the built-in motions are put together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def smoothstep(value: Tensor) -> Tensor:
    """Maps 0..1 to 0..1 with zero slope at both ends; values outside are clamped."""
    x = value.clamp(0, 1)
    return x * x * (3 - 2 * x)


def eased_keys(time: Tensor, keys: Sequence[tuple[float, float]]) -> Tensor:
    """Goes from key to key, resting at each: what a person who moves on purpose does.

    Args:
        time: [T] seconds.
        keys: (second, value) in order of time; constant before the first and after the last.

    Example:
        >>> eased_keys(torch.tensor([0.0, 0.5, 1.0, 9.0]), [(0, 0), (1, 2)]).tolist()
        [0.0, 1.0, 2.0, 2.0]
    """
    result = torch.full_like(time, float(keys[0][1]))
    for (start, before), (end, after) in zip(keys, keys[1:]):
        result = result + (after - before) * smoothstep((time - start) / (end - start))
    return result


def periodic(phase: Tensor, keys: Sequence[tuple[float, float]]) -> Tensor:
    """Interpolates a cycle by a periodic cubic spline.

    Args:
        phase: [T] in cycles; only the fraction counts.
        keys: (phase in 0..1, value) with the first phase 0; the cycle closes by itself.
    """
    from scipy.interpolate import CubicSpline

    times = [at for at, _ in keys] + [1.0]
    values = [value for _, value in keys] + [keys[0][1]]
    spline = CubicSpline(times, values, bc_type="periodic")
    return torch.from_numpy(np.asarray(spline(phase.double().numpy() % 1.0))).to(phase)


def pulses(time: Tensor, centres: Sequence[float], width: float) -> Tensor:
    """Sums raised-cosine pulses of height 1: blinks, beats, emphasis.

    Args:
        time: [T] seconds.
        centres: seconds of the peaks.
        width: seconds from zero to zero.
    """
    total = torch.zeros_like(time)
    for centre in centres:
        x = ((time - centre) / width).clamp(-0.5, 0.5)
        total = total + 0.5 * (1 + torch.cos(2 * math.pi * x))
    return total.clamp(max=1.0)
