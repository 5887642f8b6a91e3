"""`StageClock`: seconds by stage, also for the stages inside a model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class StageClock:
    """Measures wall time by stage; on CUDA it waits for the device at every boundary.

    Args:
        device: where the work runs.

    Attributes:
        seconds: stage name to seconds, in the order of first use.

    Example:
        >>> clock = StageClock()
        >>> with clock("work"):
        ...     _ = sum(range(10))
        >>> list(clock.seconds)
        ['work']
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.seconds: dict[str, float] = {}
        self._device = torch.device(device)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        self.seconds.setdefault(stage, 0.0)
        start = self._now()
        try:
            yield
        finally:
            self.seconds[stage] += self._now() - start

    @contextmanager
    def parts(self, model: nn.Module, stages: dict[str, str], rest: str) -> Iterator[None]:
        """Adds the time of the block to stages by submodule, what remains to `rest`.

        Args:
            model: the module that the block runs.
            stages: attribute name of a submodule to stage name; those that do not run are skipped.
            rest: stage of the time outside them.
        """
        hooks, opened, before = [], {}, sum(self.seconds.values())
        for attribute, stage in stages.items():
            part = getattr(model, attribute, None)
            if not isinstance(part, nn.Module):
                continue

            def enter(*_: object, stage: str = stage) -> None:
                self.seconds.setdefault(stage, 0.0)
                opened[stage] = self._now()

            def leave(*_: object, stage: str = stage) -> None:
                self.seconds[stage] += self._now() - opened.pop(stage)

            hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
        start = self._now()
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            inside = sum(self.seconds.values()) - before
            spent = self._now() - start - inside
            self.seconds[rest] = self.seconds.get(rest, 0.0) + spent

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
