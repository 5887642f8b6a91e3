"""Seconds of a repeated function: CUDA events on a GPU, a clock elsewhere; medians."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import torch


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long one call takes.

    Attributes:
        seconds: median.
        low: first decile, s.
        high: last decile, s.
        repeats: timed calls.
    """

    seconds: float
    low: float
    high: float
    repeats: int


def measure(
    function: Callable[[], Any],
    device: torch.device,
    *,
    repeats: int,
    warmups: int = 3,
    limit: float = 10.0,
) -> Timing:
    """Times a function; nothing waits for the GPU between calls.

    Args:
        function: the work.
        device: where it runs.
        repeats: timed calls.
        warmups: calls before them.
        limit: seconds after which fewer calls must do; at least one is timed.
    """
    spent, last = 0.0, 0.0
    for done in range(warmups):
        started = time.perf_counter()
        function()
        _wait(device)
        last = time.perf_counter() - started
        spent += last
        if spent > limit and done > 0:  # the first call may compile: it tells nothing
            break
    repeats = max(1, int(min(repeats, limit / max(last, 1e-9))))
    samples = (_on_cuda if device.type == "cuda" else _on_host)(function, repeats)
    ordered = sorted(samples)
    if len(ordered) < 2:
        return Timing(ordered[0], ordered[0], ordered[0], 1)
    cuts = quantiles(ordered, n=10, method="inclusive")
    return Timing(cuts[4], cuts[0], cuts[8], len(ordered))


def _on_cuda(function: Callable[[], Any], repeats: int) -> list[float]:
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        function()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in zip(marks, marks[1:])]


def _on_host(function: Callable[[], Any], repeats: int) -> list[float]:
    samples = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        samples.append(time.perf_counter() - started)
    return samples


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
