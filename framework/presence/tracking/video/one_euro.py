"""The one-euro filter: smooths slow motion much and fast motion little, frame by frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.motion.clip import slerp


class OneEuroFilter:
    """Filters vectors [... D], or rotation vectors [... 3] along the shortest arc.

    Source: Casiez, Roussel and Vogel, "1 EUR filter", CHI 2012, Eq. 1-8.

    Args:
        fps: frames a second.
        cutoff: Hz at rest; lower is smoother and lags more.
        beta: how much the cutoff grows with speed, in Hz for a unit a second.
        rotations: whether the last axis is a rotation vector.

    Example:
        >>> smooth = OneEuroFilter(fps=25.0)
        >>> smooth(torch.zeros(3)).tolist(), float(smooth(torch.ones(3))[0]) < 1
        ([0.0, 0.0, 0.0], True)
    """

    def __init__(
        self, fps: float, *, cutoff: float = 1.5, beta: float = 2.0, rotations: bool = False
    ) -> None:
        self.fps, self.cutoff, self.beta, self.rotations = fps, cutoff, beta, rotations
        self._value: Tensor | None = None
        self._raw: Tensor | None = None
        self._speed: Tensor | None = None

    def __call__(self, value: Tensor) -> Tensor:
        """Takes the next frame and returns it filtered."""
        if self._value is None or self._raw is None or self._speed is None:
            self._value, self._raw = value, value
            self._speed = torch.zeros_like(value[..., 0])
            return value
        moved = self._angle(value) if self.rotations else (value - self._raw).norm(dim=-1)
        self._speed = torch.lerp(self._speed, moved * self.fps, self._share(torch.tensor(1.0)))
        share = self._share(self.cutoff + self.beta * self._speed)
        if self.rotations:
            self._value = slerp(self._value, value, share)
        else:
            self._value = torch.lerp(self._value, value, share[..., None])
        self._raw = value
        return self._value

    def _share(self, cutoff: Tensor) -> Tensor:
        """How much of the new value counts, for a cutoff frequency (Hz)."""
        rate = 2 * math.pi * cutoff / self.fps
        return rate / (rate + 1)

    def _angle(self, value: Tensor) -> Tensor:
        from presence.geometry import axis_angle_to_quaternion

        assert self._raw is not None
        cosine = (axis_angle_to_quaternion(value) * axis_angle_to_quaternion(self._raw)).sum(-1)
        return 2 * torch.arccos(cosine.abs().clamp(max=1.0))
