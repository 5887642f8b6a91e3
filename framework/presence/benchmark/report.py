"""A sweep's report as Markdown, CSV and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from presence.benchmark.paper import COLUMNS
from presence.benchmark.results import Method, labels, missing
from presence.benchmark.tables import VIEWS, Table, overview, quality, sensitivity, set_names
from presence.io.atomic import write_text

MARKDOWN, CSV, PAGE = "report.md", "results.csv", "report.html"


def write_report(
    out: Path,
    methods: Sequence[Method],
    *,
    title: str,
    notes: Sequence[str] = (),
    source: str | None = None,
    failures: Mapping[str, str] | None = None,
    paper_columns: Mapping[str, Sequence[str]] = COLUMNS,
) -> tuple[str, list[Path]]:
    """Writes what is known so far.

    Args:
        out: the sweep's folder; pictures are read from its `rows/`.
        methods: rows in order, with their runs.
        title: heading.
        notes: paragraphs under it.
        source: the config's file.
        failures: run to the reason why it has no result.
        paper_columns: set to the paper's columns shown beside it.

    Returns:
        The overview as Markdown, and the files.
    """
    from presence.benchmark.page import write_page

    tables = all_tables(methods, paper_columns)
    paragraphs = [*notes, *about(methods, source)]
    write_text(out / MARKDOWN, _markdown(title, paragraphs, tables, failures or {}) + "\n")
    write_text(out / CSV, _csv(methods))
    write_page(out / PAGE, out / "rows", methods, title, paragraphs, tables, failures or {})
    return markdown_table(tables[0]), [out / name for name in (PAGE, MARKDOWN, CSV)]


def all_tables(
    methods: Sequence[Method], paper_columns: Mapping[str, Sequence[str]] = COLUMNS
) -> list[Table]:
    """Returns the overview, a table a set, and the movement where it was measured."""
    moves = sensitivity(methods)
    sets = [quality(methods, name, paper_columns) for name in set_names(methods)]
    tables = [overview(methods), *sets]
    return [*tables, moves] if moves is not None else tables


def about(methods: Sequence[Method], source: str | None) -> Iterator[str]:
    """Yields one sentence each on budget, protocol, what is missing and where it ran."""
    results = [(run.job, run.result) for m in methods for run in m.runs if run.result is not None]
    if source:
        yield f"Config: `{Path(source).name}`."
    if not results:
        return
    job, first = results[0]
    trained = [job for job, _ in results if job.train]
    if trained:
        job = trained[0]
        given = job.budget.get("samples")
        budget = f"{given:,} samples" if given else f"{job.budget['seconds']:g} s of training"
        yield f"Budget of every trained run: {budget}; batches of {job.batch_size}."
        for method in (m for m in methods if m.given and m.finished):
            file = Path(str(method.runs[0].job.weights)).name
            yield f"Not under this budget, and never marked as best: {method.name}, from `{file}`."
    several = [f"{m.name} {', '.join(map(str, m.seeds))}" for m in methods if len(m.seeds) > 1]
    yield f"± is half the range over seeds: {'; '.join(several)}." if several else "One seed each."
    grey = job.protocol.get("background", 1.0)
    behind = "white" if grey == 1 else f"grey {grey:g}"
    yield (
        f"Inside the union of both masks, both pictures over {behind}: "
        f"{', '.join(labels(methods).values())}."
    )
    for name, reason in missing(methods).items():
        yield f"Not computed: {name}: {reason.rstrip('.')}."
    where = sorted({str(result["device"]) for _, result in results})
    commits = sorted({str(r["provenance"]["commit"])[:10] for _, r in results})
    yield f"Run on {', '.join(where)}; commit {', '.join(commits)}."
    minutes = sum(result["wall_seconds"] for _, result in results) / 60
    yield f"{len(results)} runs took {minutes:.1f} minutes in all, one after the other."


def markdown_table(table: Table) -> str:
    """Returns a table as Markdown, the best figures bold."""
    heads = [f"{c.group}: {c.head}" if c.group else c.head for c in table.columns]
    lines = ["| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for method, cells in table.cells():
        texts = [f"**{cell.text}**" if cell.best else cell.text for cell in cells]
        lines.append("| " + " | ".join([method.name, *texts]) + " |")
    return "\n".join(lines)


def _markdown(
    title: str, paragraphs: Sequence[str], tables: Sequence[Table], failures: Mapping[str, str]
) -> str:
    parts = [f"# {title}", *paragraphs]
    for table in tables:
        parts += [f"## {table.title}", markdown_table(table)]
        parts += [table.note] if table.note else []
    if failures:
        lines = [f"- {name}: {reason}" for name, reason in failures.items()]
        parts += ["## Without a result", "\n".join(lines)]
    return "\n\n".join(parts)


def _csv(methods: Sequence[Method]) -> str:
    """One line a method, seed, set and view."""
    metrics = list(labels(methods))
    costs = ("parameters", "samples", "train_seconds", "predict_seconds")
    moves = ("moves_rms", "moves_lpips", "moves_offset_mm", "between_rms")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", "set", "view", *metrics, *costs, *moves])
    for method in methods:
        for run in method.runs:
            if run.result is None:
                continue
            tail = _tail(run.result)
            for name, measured in run.result["sets"].items():
                for view in VIEWS:
                    values = [measured["means"].get(f"{view}/{m}") for m in metrics]
                    writer.writerow([method.name, run.job.seed, name, view, *values, *tail])
    return text.getvalue()


def _tail(result: Mapping[str, Any]) -> list[Any]:
    training, moves = result["training"], result.get("sensitivity") or {}
    mean = moves.get("mean", {})
    return [
        result["parameters"],
        training.get("samples"),
        training.get("seconds"),
        result["predict_seconds"],
        mean.get("rms"),
        mean.get("lpips"),
        mean.get("offset"),
        moves.get("between"),
    ]
