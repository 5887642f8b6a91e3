"""The sweep as one HTML page that needs nothing beside it: tables, plots and pictures."""

from __future__ import annotations

import base64
import html
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from presence.benchmark.measure import COLUMNS
from presence.benchmark.plots import SERIES, Series, plot
from presence.benchmark.results import Method
from presence.benchmark.tables import Table, set_names
from presence.io.atomic import write_text


def write_page(
    path: Path,
    rows: Path,
    methods: Sequence[Method],
    title: str,
    paragraphs: Sequence[str],
    tables: Sequence[Table],
    failures: Mapping[str, str],
) -> None:
    """Writes the page.

    Args:
        path: file to write.
        rows: folder of the runs' folders, for their pictures.
        methods: rows in order.
        title: heading.
        paragraphs: under it.
        tables: in order.
        failures: run to the reason why it has no result.
    """
    style = importlib.resources.files("presence.benchmark").joinpath("page.css").read_text("utf-8")
    body = [f"<h1>{html.escape(title)}</h1>", '<div class="about">']
    body += [f"<p>{_inline(text)}</p>" for text in paragraphs]
    body += ["</div>", *_failed(failures)]
    body += [_table(tables[0]), '<h2>Plots</h2><div class="plots">', *_plots(methods), "</div>"]
    body += [_table(table) for table in tables[1:]]
    body += _pictures(methods, rows)
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style></head>\n"
        "<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n",
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))


def _failed(failures: Mapping[str, str]) -> list[str]:
    if not failures:
        return []
    items = [f"<li><b>{html.escape(n)}</b>: {html.escape(r)}</li>" for n, r in failures.items()]
    return ['<div class="failed"><b>Without a result</b><ul>', *items, "</ul></div>"]


def _table(table: Table) -> str:
    groups: list[list] = []
    for column in table.columns:
        if groups and groups[-1][0] == column.group:
            groups[-1][1] += 1
        else:
            groups.append([column.group, 1])
    first = "".join(f'<th colspan="{n}" class="group">{html.escape(g)}</th>' for g, n in groups)
    heads = "".join(f"<th>{html.escape(c.head)}</th>" for c in table.columns)
    starts = [i for i, c in enumerate(table.columns) if i and table.columns[i - 1].group != c.group]
    lines = []
    for method, cells in table.cells():
        texts = []
        for position, cell in enumerate(cells):
            classes = [
                name for name, on in (("best", cell.best), ("first", position in starts)) if on
            ]
            texts.append(f'<td class="{" ".join(classes)}">{html.escape(cell.text)}</td>')
        lines.append(f"<tr><th>{html.escape(method.name)}</th>{''.join(texts)}</tr>")
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{html.escape(table.title)}</h2><div class="wide"><table><thead>'
        f"<tr><th></th>{first}</tr><tr><th>method</th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>{note}"
    )


def _plots(methods: Sequence[Method]) -> list[str]:
    """Quality against parameters, times, and training data."""
    names = set_names(methods)
    chosen = "half" if "half" in names else (names[0] if names else "")
    label = f"novel PSNR, {chosen} (dB)"
    against = {
        "parameters": ("parameters", ("parameters",)),
        "training time": ("seconds", ("training", "seconds")),
        "time to an avatar and two views": ("seconds a subject", ("predict_seconds",)),
    }
    drawn = [
        _against(methods, chosen, label, f"Quality against {what}", x, path)
        for what, (x, path) in against.items()
    ]
    drawn += [_curves(methods), _movement(methods, chosen, label)]
    return [f"<figure>{svg}</figure>" for svg in drawn if svg]


def _against(
    methods: Sequence[Method], name: str, y: str, title: str, x: str, path: tuple[str, ...]
) -> str:
    series = []
    for color, method in enumerate(methods):
        across, up = method.mean(*path), method.mean("sets", name, "means", "novel/psnr")
        if across is not None and up is not None:
            series.append(Series(method.name, [(across, up)], color))
    return plot(series, title=title, x_label=x, y_label=y, log_x=True)


def _curves(methods: Sequence[Method]) -> str:
    """The first seed's validations."""
    series = []
    for color, method in enumerate(methods):
        curve = method.finished[0]["training"].get("curve", ()) if method.finished else ()
        points = [(p["samples"], p["novel/psnr"]) for p in curve if "novel/psnr" in p]
        series.append(Series(method.name, points, color))
    return plot(
        series,
        title="Quality against training data",
        x_label="samples seen so far in the run",
        y_label="novel PSNR, validation (dB)",
    )


def _movement(methods: Sequence[Method], name: str, label: str) -> str:
    series = []
    for color, method in enumerate(methods):
        moves = method.mean("sensitivity", "mean", "rms")
        up = method.mean("sets", name, "means", "novel/psnr")
        if moves is not None and up is not None:
            series.append(Series(method.name, [(100 * moves, up)], color))
    title = "Quality against movement with the framing"
    return plot(series, title=title, x_label="movement, RMS (%)", y_label=label)


def _pictures(methods: Sequence[Method], rows: Path) -> list[str]:
    about = f"Columns: {', '.join(COLUMNS)}; the same subjects for every method, the first seed."
    parts = ["<h2>Pictures</h2>", f'<p class="note">{about}</p>']
    for name in set_names(methods):
        cards = []
        for color, method in enumerate(methods):
            done = [run for run in method.runs if run.result is not None]
            file = rows / done[0].job.folder / f"{name}.jpg" if done else None
            if file is not None and file.is_file():
                cards.append(_card(method.name, color, file.read_bytes()))
        if cards:
            parts += [f"<h3>{html.escape(name)}</h3>", '<div class="pictures">', *cards, "</div>"]
    return parts


def _card(name: str, color: int, picture: bytes) -> str:
    data, name = base64.b64encode(picture).decode("ascii"), html.escape(name)
    dot = f'<span class="dot" style="background:var(--series-{color % SERIES})"></span>'
    image = f'<img loading="lazy" alt="{name}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{image}<figcaption>{dot}{name}</figcaption></figure>"
