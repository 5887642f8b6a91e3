"""The runs of a sweep put together by method: means over seeds, and what is missing and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from presence.benchmark.rows import Job


@dataclasses.dataclass(frozen=True)
class Run:
    """One seed of one row.

    Attributes:
        job: what was to be run.
        result: what the worker wrote, None where it has not finished.
        reason: why there is none.
    """

    job: Job
    result: Mapping[str, Any] | None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: of the row.
        paper: its name in the paper.
        runs: one a seed.
        given: whether its weights come from a file and not from this sweep's budget.
    """

    name: str
    paper: str | None
    runs: Sequence[Run]
    given: bool = False

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """The results that there are."""
        return [run.result for run in self.runs if run.result is not None]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the finished runs."""
        return [run.job.seed for run in self.runs if run.result is not None]

    def values(self, *path: str) -> list[float]:
        """Returns a value of every finished run, where it is there, by its keys in the result.

        Example:
            >>> job = Job("a", 0, {}, {}, 0, True, None, {})
            >>> Method("a", None, [Run(job, dict(training=dict(seconds=2.0)))]).values(
            ...     "training", "seconds")
            [2.0]
        """
        found = []
        for result in self.finished:
            node: Any = result
            for key in path:
                node = node.get(key) if isinstance(node, Mapping) else None
            if isinstance(node, int | float):
                found.append(float(node))
        return found

    def mean(self, *path: str) -> float | None:
        """Returns the mean over seeds of a value, None where no run has it."""
        values = self.values(*path)
        return sum(values) / len(values) if values else None

    def spread(self, *path: str) -> float | None:
        """Returns half the range over seeds, None below two of them."""
        values = self.values(*path)
        return (max(values) - min(values)) / 2 if len(values) > 1 else None


def labels(methods: Sequence[Method]) -> dict[str, str]:
    """Returns metric to heading, over all results."""
    merged: dict[str, str] = {}
    for result in (r for method in methods for r in method.finished):
        for measured in result["sets"].values():
            merged.update(measured["labels"])
    return merged


def missing(methods: Sequence[Method]) -> dict[str, str]:
    """Returns metric to the reason why it was not computed."""
    merged: dict[str, str] = {}
    for result in (r for method in methods for r in method.finished):
        for measured in result["sets"].values():
            merged.update(measured["missing"])
    return merged


def absent(methods: Sequence[Method]) -> dict[str, str]:
    """Returns set to the reason why it was not measured, where some run lacked it."""
    merged: dict[str, str] = {}
    for result in (r for method in methods for r in method.finished):
        merged.update(result.get("absent") or {})
    return merged


def ranking(methods: Sequence[Method], *path: str) -> list[Method]:
    """Returns the methods that learn and have the value, highest first."""
    learning = [method for method in methods if all(run.job.train for run in method.runs)]
    values = [(method.mean(*path), method) for method in learning]
    known = [(value, method) for value, method in values if value is not None]
    return [method for _, method in sorted(known, key=lambda pair: -pair[0])]
