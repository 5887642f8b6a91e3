"""What a training's `scalars.jsonl` tells: seconds, and quality against samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_scalars(work: Path) -> dict[int, dict[str, float]]:
    """Returns iteration to its scalars, in order.

    A run that was killed and resumed repeats some iterations: the last line of each counts.
    """
    merged: dict[int, dict[str, float]] = {}
    path = work / "scalars.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            values = json.loads(line)
        except ValueError:  # cut off by a kill
            continue
        merged.setdefault(values.pop("iteration"), {}).update(values)
    return dict(sorted(merged.items()))


def training_seconds(work: Path) -> float:
    """Returns the time of all training steps, without validation, start and pictures."""
    total, previous = 0.0, 0
    for iteration, values in read_scalars(work).items():
        if "time/iteration" in values:
            total += values["time/iteration"] * (iteration - previous)
            previous = iteration
    return total


def step_seconds(work: Path) -> float:
    """Returns the time of one step at the end of a training."""
    times = [v["time/iteration"] for v in read_scalars(work).values() if "time/iteration" in v]
    return times[-1]


def learning_curve(work: Path, batch_size: int) -> list[dict[str, Any]]:
    """Returns the validations of a training: `samples` seen and the metrics by `view/metric`."""
    points = []
    for iteration, values in read_scalars(work).items():
        metrics = {k.removeprefix("val/"): v for k, v in values.items() if k.startswith("val/")}
        if metrics:
            points.append(dict(samples=iteration * batch_size, **metrics))
    return points
