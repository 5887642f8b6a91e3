"""`TurnedAccuracy`: side and back views of rendered people, tracked after their front view."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presence.benchmark.base import Benchmark, BenchmarkReport
from presence.benchmark.tracking_accuracy import Row, read_rows
from presence.errors import ConfigError, InputError
from presence.io.atomic import append_line, write_text
from presence.registry import BENCHMARKS, TRACKERS
from presence.tracking.default import tracker_config

if TYPE_CHECKING:
    from presence.structures import Tracking
    from presence.tracking.measuring.known_people import KnownPerson

FRAMINGS = ("half", "full")
_VIEWS = ("front", "side", "back")
_KINDS = {"turned": "front's body, turned", "fitted": "tracked"}
_COLUMNS = {
    "iou": ("IoU", 2),
    "keypoints": ("keypoints, % of box", 2),
    "vertices": ("vertices (aligned), mm", 1),
    "face": ("face points, % of face box", 1),
}
_LOWER = ("keypoints", "vertices", "face")  # columns of which less is better


@BENCHMARKS.register()
class TurnedAccuracy(Benchmark):
    """Tracks people from the front, then from a side and from behind, as `--facing` does.

    Both are compared with the truth: the front's body that is merely turned, and the one that
    the stage makes of it. Writes `rows.jsonl` (one line a picture), `table.md` and
    `summary.json`; a second run goes on.

    Args:
        people: how many, as many half bodies as full ones; every other one is seen from the left.
        stirred: whether arms, head and legs move between the views, as in generated turns.
        tracker: config of the tracker, which is given the body; None for the default one.
        overlays: folder for pictures of both bodies over the portrait; None draws none.
        folder: where the config lies, which `overlays` is relative to.

    Example:
        >>> TurnedAccuracy(people=2).people
        2
    """

    def __init__(
        self,
        *,
        people: int = 48,
        stirred: bool = False,
        tracker: Mapping[str, Any] | None = None,
        overlays: str | None = None,
        folder: Path | None = None,
    ) -> None:
        if people < 1:
            raise ConfigError(f"benchmark.people should be at least 1, got {people}")
        self.people, self.stirred = people, stirred
        self.tracker = tracker_config(tracker)
        self.overlays = None if overlays is None else (folder or Path()) / overlays

    def run(self, out: Path) -> BenchmarkReport:
        """Measures everybody who is not in `rows.jsonl` yet, and writes table and summary."""
        out.mkdir(parents=True, exist_ok=True)
        path = out / "rows.jsonl"
        rows = read_rows(path)
        done = {row["person"] for row in rows}
        names = [(FRAMINGS[n % 2], n // 2) for n in range(self.people)]
        wanted = [name for name in names if f"{name[0]}_{name[1]}" not in done]
        for person in self._measure(wanted):
            # All rows of a person at once, so that a run that was stopped repeats nobody's half.
            append_line(path, "\n".join(json.dumps(row) for row in person))
            rows += person
        summary, table = summarize(rows), markdown(rows)
        write_text(out / "summary.json", json.dumps(summary, indent=2))
        write_text(out / "table.md", table + "\n")
        return BenchmarkReport(table, (out / "table.md", out / "summary.json", path))

    def _measure(self, wanted: Sequence[tuple[str, int]]) -> Iterator[list[Row]]:
        if not wanted:
            return
        from tqdm import tqdm

        bench = _Bench(self)
        for framing, index in tqdm(wanted, desc="people", unit="person"):
            yield bench.measure(framing, index)


class _Bench:
    """The people, the tracker, and where landmarks lie.

    Args:
        settings: the benchmark's.
    """

    def __init__(self, settings: TurnedAccuracy) -> None:
        from presence.bodies import load_body
        from presence.tracking.landmarks import LandmarkMap
        from presence.tracking.measuring.turned_people import PeopleAllRound

        self.body = load_body("annyx")
        self.landmarks = LandmarkMap.load(self.body.name)
        self.people = PeopleAllRound(self.body, stirred=settings.stirred)
        self.tracker = TRACKERS.build(settings.tracker, body=self.body)
        self.overlays = settings.overlays

    def measure(self, framing: str, index: int) -> list[Row]:
        """Returns one row a picture; one alone where the front could not be tracked."""
        known = self.people.person(framing, index)  # type: ignore[arg-type]
        front = known.pop("front")
        row = {"person": f"{framing}_{index}", "framing": framing}
        start = time.process_time()
        try:
            tracked = self.tracker(front.portrait)
        except InputError as error:
            return [{**row, "view": "front", "failed": str(error)}]
        seconds = time.process_time() - start
        rows = [{**row, "view": "front", "seconds": seconds, "fitted": self._score(front, tracked)}]
        for facing, person in known.items():
            view = "back" if facing == "back" else "side"
            rows.append(
                {**row, "view": view, "facing": facing, **self._turn(person, tracked, facing)}
            )
        return rows

    def _turn(self, person: KnownPerson, front: Tracking, facing: Any) -> Row:
        from presence.tracking.turned_views import at_origin, track_turned, turned_front

        merely = at_origin(turned_front(self.body, front, facing), front.camera)
        start = time.process_time()
        found = track_turned(self.tracker, person.portrait, front, facing)
        seconds = time.process_time() - start
        self._draw(person, merely, found)
        scores = {"turned": self._score(person, merely), "fitted": self._score(person, found)}
        return {"seconds": seconds, "face found": "face" in found.keypoints, **scores}

    def _score(self, person: KnownPerson, tracking: Tracking) -> dict[str, float]:
        from presence.tracking.measuring.scores import score_person

        scores = score_person(self.body, self.landmarks, person, tracking)
        return {name: scores[name] for name in _COLUMNS}

    def _draw(self, person: KnownPerson, *trackings: Tracking) -> None:
        if self.overlays is None:
            return
        import torch

        from presence.io.images import save_png
        from presence.rasterize import build_rasterizer
        from presence.tracking.overlay import draw_overlay

        pictures = [person.portrait.rgb]
        for tracking in trackings:
            mesh, topology = self.body(tracking.body), self.body.topology
            rasterizer = build_rasterizer("cpu")
            pictures.append(
                draw_overlay(person.portrait, mesh, tracking.camera, topology, rasterizer)
            )
        self.overlays.mkdir(parents=True, exist_ok=True)
        save_png(self.overlays / f"{person.name}.png", torch.cat(pictures, -1))


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns means and medians by framing, view and body, and what the fit changed.

    Args:
        rows: of `rows.jsonl`.
    """
    tracked = [row for row in rows if "failed" not in row]
    cells = []
    for framing, view, kind in _cells():
        those = [r for r in tracked if r["framing"] == framing and r["view"] == view and kind in r]
        if those:
            values = {name: _finite(row[kind][name] for row in those) for name in _COLUMNS}
            cells.append(
                {
                    "framing": framing,
                    "view": view,
                    "body": kind,
                    "number": len(those),
                    "mean": {name: _of(statistics.fmean, v) for name, v in values.items()},
                    "median": {name: _of(statistics.median, v) for name, v in values.items()},
                    "better": {name: _better(those, name) for name in _COLUMNS},
                    "seconds": statistics.fmean(row["seconds"] for row in those),
                }
            )
    fronts = sum(row["view"] == "front" for row in rows)
    return {"people": fronts, "failures": len(rows) - len(tracked), "cells": cells}


def markdown(rows: Sequence[Row]) -> str:
    """Returns the summary as a Markdown table (means, medians in brackets) and a sentence."""
    summary = summarize(rows)
    heads = ["framing", "view", "body", "pictures", *(head for head, _ in _COLUMNS.values())]
    heads += ["nearer in IoU, keypoints, vertices", "processor seconds"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for cell in summary["cells"]:
        numbers = [
            f"{cell['mean'][name]:.{digits}f} ({cell['median'][name]:.{digits}f})"
            for name, (_, digits) in _COLUMNS.items()
        ]
        both = cell["body"] == "fitted" and cell["view"] != "front"
        better = [str(cell["better"][name]) for name in ("iou", "keypoints", "vertices")]
        start = [cell["framing"], cell["view"], _KINDS[cell["body"]], str(cell["number"])]
        end = [", ".join(better), f"{cell['seconds']:.1f}"] if both else ["", ""]
        lines.append("| " + " | ".join([*start, *numbers, *end]) + " |")
    lines += [
        "",
        f"Fronts that could not be tracked: {summary['failures']} of {summary['people']}.",
    ]
    return "\n".join(lines)


def _cells() -> list[tuple[str, str, str]]:
    return [(f, view, kind) for f in FRAMINGS for view in _VIEWS for kind in _KINDS]


def _better(rows: Sequence[Row], name: str) -> int:
    """Returns on how many pictures the fit is nearer to the truth than the turned body."""
    sign = -1 if name in _LOWER else 1
    pairs = [(sign * r["fitted"][name], sign * r["turned"][name]) for r in rows if "turned" in r]
    return sum(fitted > turned for fitted, turned in pairs)


def _finite(values: Iterator[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _of(middle: Any, values: Sequence[float]) -> float:
    return float(middle(values)) if values else math.nan
