"""The moving average of the weights: what is validated, shown and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from presence.engine.settings import Ema


class WeightAverage:
    """Exponential moving average of a model's trainable parameters, in float32.

    Args:
        model: its parameters are averaged; buffers are used as they are.
        settings: decay and warm-up.

    Attributes:
        updates: how many optimiser steps went into the average.
    """

    def __init__(self, model: nn.Module, settings: Ema) -> None:
        self.settings, self.updates = settings, 0
        self._live = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._average = {n: p.detach().clone().float() for n, p in self._live.items()}

    def decay_at(self, updates: int) -> float:
        """Returns the share of the old average that stays at update number `updates` (from 0)."""
        if not self.settings.warmup:
            return self.settings.decay
        return min(self.settings.decay, (1 + updates) / (10 + updates))

    @torch.no_grad()
    def update(self) -> None:
        """Takes the current weights into the average."""
        weight = 1.0 - self.decay_at(self.updates)
        live = [p.detach().float() for p in self._live.values()]
        if live:
            torch._foreach_lerp_(list(self._average.values()), live, weight)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averaged weights into the model for the time of the context."""
        live = {name: p.detach().clone() for name, p in self._live.items()}
        self._write(self._average)
        try:
            yield
        finally:
            self._write(live)

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Returns parameter name to averaged tensor."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Restores the average; names and shapes have been checked with the model's."""
        for name, value in state.items():
            self._average[name].copy_(value)
        self.updates = updates
