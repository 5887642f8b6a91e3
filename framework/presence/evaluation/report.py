"""Evaluations as a markdown table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presence.evaluation.evaluator import VIEWS, Evaluation

_DECIBELS = 2  # digits of what is called psnr; shares of one have four


def markdown_table(evaluations: Mapping[str, Evaluation]) -> str:
    """Returns one row a method, one column a view and metric, and notes on what is missing.

    Args:
        evaluations: method name to what was measured.

    Example:
        >>> print(markdown_table({"copy": Evaluation(
        ...     [dict(index=0, subject=0, view="input", psnr=30.0)], {"psnr": "PSNR (dB)"}, {})}))
        | method | subjects | input PSNR (dB) | novel PSNR (dB) |
        |---|---|---|---|
        | copy | 1 | 30.00 | - |
    """
    labels: dict[str, str] = {}
    for evaluation in evaluations.values():
        labels.update(evaluation.labels)
    columns = [(view, name) for view in VIEWS for name in labels]
    heads = ["method", "subjects", *(f"{view} {labels[name]}" for view, name in columns)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for method, evaluation in evaluations.items():
        cells = [_cell(evaluation.values(view, name), name) for view, name in columns]
        lines.append("| " + " | ".join([method, str(evaluation.subjects), *cells]) + " |")
    reasons = {n: r for e in evaluations.values() for n, r in e.missing.items()}
    if reasons:
        lines += [
            "",
            *(f"Not computed: {name}: {reason.rstrip('.')}." for name, reason in reasons.items()),
        ]
    return "\n".join(lines)


def write_json(path: str | Path, evaluations: Mapping[str, Evaluation], **about: Any) -> Path:
    """Writes means and rows of every method, with what the caller says about the run.

    Args:
        path: file to write.
        evaluations: method name to what was measured.
        **about: plain values, such as config, weights and commit.
    """
    from presence.io.atomic import write_text

    methods = {
        name: dict(
            means=evaluation.means,
            subjects=evaluation.subjects,
            labels=evaluation.labels,
            missing=evaluation.missing,
            rows=evaluation.rows,
        )
        for name, evaluation in evaluations.items()
    }
    write_text(path, json.dumps(_finite(dict(about, methods=methods)), indent=1) + "\n")
    return Path(path)


def _cell(values: list[float], name: str) -> str:
    if not values:
        return "-"
    if name.endswith("_failed"):
        return f"{sum(values):.0f} of {len(values)}"
    digits = _DECIBELS if name.startswith("psnr") else 4
    return f"{sum(values) / len(values):.{digits}f}"


def _finite(value: Any) -> Any:
    """Replaces numbers that JSON has no word for by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
