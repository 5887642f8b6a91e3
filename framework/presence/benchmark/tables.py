"""The sweep's tables: what stands in which cell, apart from how it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from presence.benchmark.paper import COLUMNS, Figures, paper_figures
from presence.benchmark.results import Method, labels

VIEWS = ("input", "novel")
_PAPER = ("psnr", "ssim", "lpips")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A figure, and how it is shown.

    Attributes:
        value: the figure, None where there is none.
        text: with its spread over seeds.
        best: the best of its column.
    """

    value: float | None
    text: str
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        head: its heading.
        group: heading over several columns, "" for none.
        higher: whether higher is better; None where nothing is best.
        cell: method to cell.
    """

    head: str
    group: str
    higher: bool | None
    cell: Callable[[Method], Cell]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with one row a method.

    Attributes:
        title: heading.
        columns: of figures; the methods' names come before them.
        rows: the methods.
        note: what to know when reading it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Method]
    note: str = ""

    def cells(self) -> Iterator[tuple[Method, list[Cell]]]:
        """Yields each method with its cells, the best of each column marked.

        Rows whose weights are given do not compete with rows that were trained under the budget.
        """
        equal = [not method.given for method in self.rows]
        if not any(equal):
            equal = [True] * len(equal)
        columns = [_mark([c.cell(m) for m in self.rows], c.higher, equal) for c in self.columns]
        for position, method in enumerate(self.rows):
            yield method, [column[position] for column in columns]


def overview(methods: Sequence[Method]) -> Table:
    """Novel-view quality on every set, what it cost, and how far the avatars move; means alone."""
    columns = [
        _figure("params (M)", "", None, 2, "parameters", factor=1e-6, spreads=False),
        _figure("train (s)", "", None, 0, "training", "seconds", spreads=False),
        _figure("predict (ms)", "", False, 1, "predict_seconds", factor=1e3, spreads=False),
    ]
    for name in set_names(methods):
        columns += [
            _quality(methods, name, "novel", metric, f"{name}, novel view", metric.upper(), False)
            for metric in _PAPER
            if metric in labels(methods)
        ]
    moves, people = ("sensitivity", "mean", "rms"), ("sensitivity", "between")
    if any(method.values(*moves) for method in methods):
        group = "moves with the framing"
        columns += [
            _figure("RMS (%)", group, None, 2, *moves, factor=100, spreads=False),
            _figure("between people (%)", group, None, 2, *people, factor=100, spreads=False),
            _share("share", group),
        ]
    return Table("Overview", columns, methods, _MOVES)


def quality(
    methods: Sequence[Method], name: str, paper: Mapping[str, Sequence[str]] = COLUMNS
) -> Table:
    """All metrics of one set in both views, and the paper's own figures from some columns."""
    names = labels(methods)
    columns = [
        _quality(methods, name, view, metric, f"{view} view", head)
        for view in VIEWS
        for metric, head in names.items()
    ]
    for column in paper.get(name, ()):
        figures = {m.name: paper_figures(m.paper, name, paper).get(column) for m in methods}
        if any(figures.values()):
            columns += [_paper(column, figures, i) for i in range(len(_PAPER))]
    subjects = _subjects(methods, name)
    note = f"{subjects} held-out subjects." + (_PAPER_NOTE if len(columns) > 2 * len(names) else "")
    return Table(f"Set: {name}", columns, methods, note)


def sensitivity(methods: Sequence[Method]) -> Table | None:
    """How far canonical avatars move, by kind of transformation; None where not measured."""
    measured = [m for m in methods if m.values("sensitivity", "mean", "rms")]
    if not measured:
        return None
    group = "RMS (%)"
    columns = [
        _figure(kind, group, None, 2, "sensitivity", "kinds", kind, "rms", factor=100)
        for kind in ("shift", "scale", "crop", "pose")
    ]
    columns += [
        _figure("RMS (%)", "all framings", None, 2, "sensitivity", "mean", "rms", factor=100),
        _figure("PSNR (dB)", "all framings", None, 2, "sensitivity", "mean", "psnr"),
        _figure("LPIPS", "all framings", None, 4, "sensitivity", "mean", "lpips"),
        _figure("offset (mm)", "Gaussians", None, 2, "sensitivity", "mean", "offset"),
        _figure("colour (%)", "Gaussians", None, 2, "sensitivity", "mean", "color", factor=100),
        _figure("RMS (%)", "between people", None, 2, "sensitivity", "between", factor=100),
        _share("share", "between people"),
    ]
    return Table("Movement with the framing", columns, measured, _MOVES)


def set_names(methods: Sequence[Method]) -> list[str]:
    """Returns the names of the sets that were measured, in their order."""
    names: dict[str, None] = {}
    for result in (r for method in methods for r in method.finished):
        names.update(dict.fromkeys(result["sets"]))
    return list(names)


_PAPER_NOTE = (
    " The paper's figures come from real pictures and full-size networks; only their order can be "
    "compared with ours."
)
_MOVES = (
    "Movement: how far the avatar's canonical picture (head and chest, the average body) is from "
    "that of the unchanged portrait when the same portrait is shifted, scaled or cropped and the "
    "true camera follows. Beside it, how far different people are from each other, and the first "
    "as a share of the second: a model that ignores its input does not move, and makes everybody "
    "the same."
)


def _quality(
    methods: Sequence[Method],
    name: str,
    view: str,
    metric: str,
    group: str,
    head: str,
    spreads: bool = True,
) -> Column:
    lower = {m for method in methods for r in method.finished for m in r["lower_is_better"]}
    # A metric's further columns are named after it: what failed, for one.
    higher = not any(metric == known or metric.startswith(f"{known}_") for known in lower)
    path = ("sets", name, "means", f"{view}/{metric}")
    if metric.endswith("_failed"):  # 1 or 0 a subject
        return _figure(f"{head} (%)", group, higher, 0, *path, factor=100, spreads=spreads)
    return _figure(head, group, higher, _digits(metric), *path, spreads=spreads)


def _digits(metric: str) -> int:
    return 2 if metric.startswith("psnr") else 4


def _figure(
    head: str,
    group: str,
    higher: bool | None,
    digits: int,
    *path: str,
    factor: float = 1.0,
    spreads: bool = True,
) -> Column:
    def cell(method: Method) -> Cell:
        mean, spread = method.mean(*path), method.spread(*path)
        if mean is None:
            return Cell(None, "-")
        text = f"{mean * factor:,.{digits}f}"
        if spread is not None and spreads:
            text += f" ± {spread * factor:.{digits}f}"
        return Cell(mean * factor, text)

    return Column(head, group, higher, cell)


def _share(head: str, group: str) -> Column:
    def cell(method: Method) -> Cell:
        moves = method.mean("sensitivity", "mean", "rms")
        between = method.mean("sensitivity", "between")
        if moves is None or not between:
            return Cell(None, "-")
        return Cell(moves / between, f"{100 * moves / between:.0f}%")

    return Column(head, group, None, cell)


def _paper(column: str, figures: Mapping[str, Figures | None], position: int) -> Column:
    """One metric of a column of the paper, from method to the figures there."""
    metric = _PAPER[position]

    def cell(method: Method) -> Cell:
        found = figures[method.name]
        if found is None:
            return Cell(None, "-")
        return Cell(found[position], f"{found[position]:.{_digits(metric)}f}")

    return Column(metric.upper(), f"paper: {column}", metric != "lpips", cell)


def _subjects(methods: Sequence[Method], name: str) -> int:
    measured = [r["sets"][name] for m in methods for r in m.finished if name in r["sets"]]
    return max((one["subjects"] for one in measured), default=0)


def _mark(cells: Sequence[Cell], higher: bool | None, competes: Sequence[bool]) -> list[Cell]:
    known = [c.value for c, equal in zip(cells, competes) if equal and c.value is not None]
    if higher is None or len(known) < 2:
        return list(cells)
    best = max(known) if higher else min(known)
    return [
        dataclasses.replace(cell, best=equal and cell.value == best)
        for cell, equal in zip(cells, competes)
    ]
