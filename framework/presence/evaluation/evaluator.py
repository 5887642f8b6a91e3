"""The evaluation protocol: every method, validation and test run through `evaluate`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from presence.evaluation.compare import compare_views
from presence.evaluation.metrics import Metric
from presence.interfaces import Body
from presence.structures import TrainSample, stack

# The two views of a sample by the name that tables give them.
VIEWS = {"input": "reference", "novel": "target"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        rows: one dict a subject and view: `subject`, `view` and the metrics' columns; samples
            whose target is their reference have no novel view.
        labels: column name to heading.
        missing: metric name to the reason why it was not computed.
    """

    rows: list[dict[str, Any]]
    labels: dict[str, str]
    missing: dict[str, str]

    @property
    def means(self) -> dict[str, float]:
        """Mean over subjects by `view/metric`; rows without a value (an empty mask) are left out.

        An infinite PSNR (equal pictures) keeps the mean infinite.
        """
        means = {}
        for view in VIEWS:
            for name in self.labels:
                if values := self.values(view, name):
                    means[f"{view}/{name}"] = sum(values) / len(values)
        return means

    def values(self, view: str, name: str) -> list[float]:
        """Returns a column's values in a view, without the rows where it has none."""
        values = [row[name] for row in self.rows if row["view"] == view and name in row]
        return [value for value in values if not math.isnan(value)]

    @property
    def subjects(self) -> int:
        """How many subjects were measured."""
        return len({row["subject"] for row in self.rows})


def evaluate(
    model: nn.Module,
    source: Any,
    subjects: int,
    metrics: Sequence[Metric],
    *,
    batch_size: int = 4,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    background: float = 1.0,
    rank: int = 0,
    world: int = 1,
    on_batch: Callable[[TrainSample, Mapping[str, Any]], None] | None = None,
) -> Evaluation:
    """Measures a model on the first samples of a data set, in the input and in the novel view.

    Args:
        model: has `predict(sample) -> dict(reference=Rendering, target=Rendering, ...)`, drawn
            over black; it is put into eval mode for the time of the call.
        source: gives sample `i` by index.
        subjects: how many samples, at most what the source has.
        metrics: what to measure; those that are missing here are reported, not replaced.
        batch_size: samples predicted at once.
        device: where the model is.
        precision: "bf16" predicts under autocast; metrics are always float32 or better.
        background: grey level outside the masks, see `compare_views`.
        rank: this process measures every `world`-th sample, from `rank` on.
        world: number of processes; their rows are gathered on all of them.
        on_batch: called with every sample and prediction, for pictures.
    """
    body = getattr(model, "body", None)
    missing = {m.name: reason for m in metrics if (reason := m.unsuited(body) or m.missing())}
    usable = [metric for metric in metrics if metric.name not in missing]
    indices = range(rank, min(subjects, len(source)), world)
    was_training = model.training
    model.eval()
    rows: list[dict[str, Any]] = []
    try:
        for batch in _batches(indices, batch_size):
            sample = stack([source[index] for index in batch]).to(device)
            prediction = _predict(model, sample, torch.device(device).type, precision)
            asked = [m for m in usable if m.subjects is None or batch[0] < m.subjects]
            rows += _measure(sample, prediction, asked, background, batch, body)
            if on_batch is not None:
                on_batch(sample, prediction)
    finally:
        model.train(was_training)
    if world > 1:
        from presence.engine.distributed import gather

        rows = [row for part in gather(rows) for row in part]
    rows.sort(key=lambda row: (row["index"], row["view"]))
    labels = {name: label for metric in usable for name, label in _columns(metric).items()}
    return Evaluation(rows, labels, missing)


def _columns(metric: Metric) -> dict[str, str]:
    """A metric's columns, headed with how many samples where it is not measured on all."""
    if metric.subjects is None:
        return metric.columns
    return {k: f"{label}, first {metric.subjects}" for k, label in metric.columns.items()}


def _batches(indices: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    for first in range(0, len(indices), batch_size):
        yield list(indices[first : first + batch_size])


@torch.no_grad()
def _predict(
    model: nn.Module, sample: TrainSample, device_type: str, precision: str
) -> Mapping[str, Any]:
    predict: Any = model.predict
    with torch.autocast(device_type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        return predict(sample)


@torch.no_grad()
def _measure(
    sample: TrainSample,
    prediction: Mapping[str, Any],
    metrics: Sequence[Metric],
    background: float,
    indices: Sequence[int],
    body: Body | None,
) -> list[dict[str, Any]]:
    rows = []
    single = _single_views(sample)
    for view, key in VIEWS.items():
        true = getattr(sample, key)
        comparison = compare_views(
            prediction[key], true.portrait, background=background, view=true, body=body
        )
        values = {name: v.tolist() for name, v in comparison.measure(metrics).items()}
        limits = {name: metric.subjects for metric in metrics for name in metric.columns}
        for position, index in enumerate(indices):
            if view == "novel" and single[position]:
                continue
            subject = int(sample.subject[position])
            measured = {
                name: v[position] for name, v in values.items() if _asked(limits[name], index)
            }
            rows.append(dict(index=index, subject=subject, view=view, **measured))
    return rows


def _asked(limit: int | None, index: int) -> bool:
    return limit is None or index < limit


def _single_views(sample: TrainSample) -> list[bool]:
    """Says whose target is the reference itself: these have no novel view to be measured."""
    first, second = sample.reference.portrait.rgb, sample.target.portrait.rgb
    if first.shape != second.shape:
        return [False] * len(first)
    return (first == second).flatten(1).all(1).tolist()
