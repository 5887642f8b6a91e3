"""Small tools for functions over points: per-subject values beside points, steps and bumps.

Shading functions take coordinates as separate tensors with the points last, so that one
function serves vertices ([B V] points, [B 1] values) and pixels ([P] points, [P] values), and
elementwise kernels always run along contiguous points.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct

T = TypeVar("T", bound=TensorStruct)


def struct_of(cls: type[T], **arrays: np.ndarray) -> T:
    """Builds a struct of float32 tensors from numpy arrays [B ...]."""
    return cls(**{k: torch.from_numpy(np.asarray(v, dtype=np.float32)) for k, v in arrays.items()})


class Beside:
    """A batched struct's fields arranged beside points, components first and points last.

    Args:
        struct: fields [B ...].
        index: [P] which batch element each point belongs to, for fields [... P]; or None for
            fields [... B 1], which broadcast over [B V] vertices.

    Example:
        >>> from presence.structures import Portrait
        >>> portrait = Portrait(torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4, 4))
        >>> Beside(portrait, torch.tensor([0, 1, 1])).rgb.shape
        torch.Size([3, 4, 4, 3])
    """

    def __init__(self, struct: TensorStruct, index: Tensor | None = None) -> None:
        self._struct, self._index = struct, index

    def __getattr__(self, name: str) -> Tensor:
        field = getattr(self._struct, name).movedim(0, -1)
        if self._index is None:
            value = field[..., None]
        else:
            value = field.contiguous().index_select(-1, self._index)
        self.__dict__[name] = value  # gathered once, however often it is used
        return value


def unit(vectors: Tensor) -> Tensor:
    """Normalises vectors [3 P] along their first axis."""
    x, y, z = vectors
    return vectors * (x * x + y * y + z * z).clamp_min(1e-16).rsqrt()


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Returns the products [P] of vectors [3 P]."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def smoothstep(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Rises smoothly from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: Tensor, center: float | Tensor, width: float | Tensor) -> Tensor:
    """Gaussian bump of height 1 and standard deviation `width`."""
    return torch.exp(-0.5 * ((x - center) / width).square())


def mix(a: Tensor, b: Tensor | float, amount: Tensor) -> Tensor:
    """Blends from `a` (amount 0) to `b` (amount 1)."""
    return a + (b - a) * amount


def polyline(x: Tensor, knots: tuple[tuple[float, float], ...]) -> Tensor:
    """Piecewise linear function through (x, y) knots in order, constant beyond the ends."""
    value = torch.full_like(x, knots[0][1])
    for (x0, y0), (x1, y1) in zip(knots, knots[1:]):
        value = value + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0)
    return value


def linear_from_srgb(color: np.ndarray) -> np.ndarray:
    """Decodes sRGB colours in 0..1 to linear light (IEC 61966-2-1)."""
    color = np.asarray(color, dtype=np.float64)
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: Tensor) -> Tensor:
    """Encodes linear light as sRGB in 0..1 (IEC 61966-2-1)."""
    light = light.clamp(0.0, 1.0)
    curve = 1.055 * light.clamp_min(1e-6).pow(1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, 12.92 * light, curve)
