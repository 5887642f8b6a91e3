"""`TrackingAccuracy`: how well a tracker finds rendered people whose bodies are known."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from presence.benchmark.base import Benchmark, BenchmarkReport
from presence.errors import ConfigError, InputError
from presence.io.atomic import append_line, write_text
from presence.registry import BENCHMARKS, TRACKERS
from presence.tracking.default import tracker_config

Row = dict[str, Any]
_SEEN, _HIDDEN = 0.5, 0.1  # share of a hand from which it is seen, and below which it is not
_HANGS = 45.0  # degrees from straight down within which a forearm hangs
_COLUMNS = {
    "reprojection": "from detected, % of box",
    "keypoints": "from true, % of box",
    "iou": "IoU",
    "face": "face points, % of face box",
    "vertices": "vertices (aligned), mm",
}


@BENCHMARKS.register()
class TrackingAccuracy(Benchmark):
    """Tracks rendered people of held-out seeds and compares with the truth.

    Writes `rows.jsonl` (one line a person), `table.md` and `summary.json`; a second run goes on.

    Args:
        people: how many: a quarter heads, a third full bodies, the rest half bodies.
        tracker: config of the tracker, which is given the body; None for the default one.
        pictures: folder that keeps the rendered people for other runs; None renders them anew.
        folder: where the config lies, which `pictures` is relative to.

    Example:
        >>> TrackingAccuracy(people=12).people
        12
    """

    def __init__(
        self,
        *,
        people: int = 200,
        tracker: Mapping[str, Any] | None = None,
        pictures: str | None = None,
        folder: Path | None = None,
    ) -> None:
        if people < 1:
            raise ConfigError(f"benchmark.people should be at least 1, got {people}")
        self.people = people
        self.tracker = tracker_config(tracker)
        self.pictures = None if pictures is None else (folder or Path()) / pictures

    def run(self, out: Path) -> BenchmarkReport:
        """Measures everybody who is not in `rows.jsonl` yet, and writes table and summary."""
        out.mkdir(parents=True, exist_ok=True)
        path = out / "rows.jsonl"
        rows = read_rows(path)
        done = {row["name"] for row in rows}
        wanted = [name for name in _names(self.people) if f"{name[0]}_{name[1]}" not in done]
        for row in self._measure(wanted):
            append_line(path, json.dumps(row))
            rows.append(row)
        summary, table = summarize(rows), markdown(rows)
        write_text(out / "summary.json", json.dumps(summary, indent=2))
        write_text(out / "table.md", table + "\n")
        return BenchmarkReport(table, (out / "table.md", out / "summary.json", path))

    def _measure(self, wanted: Sequence[tuple[str, int]]) -> Iterator[Row]:
        if not wanted:
            return
        from tqdm import tqdm

        from presence.bodies import load_body
        from presence.tracking.landmarks import LandmarkMap
        from presence.tracking.measuring.known_people import KnownPeople
        from presence.tracking.measuring.scores import score_person

        body = load_body("annyx")
        landmarks = LandmarkMap.load(body.name)
        people, tracker = (
            KnownPeople(body, kept=self.pictures),
            TRACKERS.build(self.tracker, body=body),
        )
        for framing, index in tqdm(wanted, desc="people", unit="person"):
            person = people.person(framing, index)
            row: Row = {"name": f"{framing}_{index}", "framing": framing}
            start = time.process_time()
            try:
                tracking = tracker(person.portrait)
            except InputError as error:
                yield row | {"failed": str(error)}
                continue
            row["seconds"] = time.process_time() - start
            yield row | score_person(body, landmarks, person, tracking)


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns means by regime, the share of failures, and of forearms that point right.

    Args:
        rows: of `rows.jsonl`.
    """
    regimes = {name: _means(chosen) for name, chosen in _regimes(rows).items()}
    arms = list(_hidden_arms(rows))
    hanging = [angle for angle, hangs in arms if hangs < _HANGS]
    return {
        "people": len(rows),
        "failures": sum("failed" in row for row in rows) / max(len(rows), 1),
        "regimes": regimes,
        "hidden_forearms": len(arms),
        "hidden_forearms_within_45": _share([angle for angle, _ in arms]),
        "hanging_forearms": len(hanging),
        "hanging_forearms_within_45": _share(hanging),
    }


def markdown(rows: Sequence[Row]) -> str:
    """Returns the summary as a Markdown table and two sentences."""
    summary = summarize(rows)
    heads = ["people", "number", *_COLUMNS.values(), "processor seconds"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, means in summary["regimes"].items():
        cells = [f"{means[key]:.2f}" for key in _COLUMNS] + [f"{means['seconds']:.1f}"]
        lines.append("| " + " | ".join([name, str(means["number"]), *cells]) + " |")
    lines += [
        "",
        f"Failures: {100 * summary['failures']:.1f}% of {summary['people']}. Forearms within 45 "
        f"degrees where the hand is hidden: {100 * summary['hidden_forearms_within_45']:.1f}% of "
        f"{summary['hidden_forearms']}; of those that hang: "
        f"{100 * summary['hanging_forearms_within_45']:.1f}% of {summary['hanging_forearms']}.",
    ]
    return "\n".join(lines)


def _names(people: int) -> list[tuple[str, int]]:
    from presence.tracking.measuring.known_people import shares

    left = {framing: list(range(count)) for framing, count in shares(people).items()}
    names = []
    while any(left.values()):  # in turn, so that a part of the run is a fair sample
        names += [(framing, numbers.pop(0)) for framing, numbers in left.items() if numbers]
    return names


def _regimes(rows: Sequence[Row]) -> dict[str, list[Row]]:
    tracked = [row for row in rows if "failed" not in row]
    regimes: dict[str, list[Row]] = {}
    for framing in ("head", "half", "full"):
        those = [row for row in tracked if row["framing"] == framing]
        regimes[framing] = those
        if framing != "head":
            seen = [row for row in those if _hands(row) > _SEEN]
            hidden = [row for row in those if _hands(row) < _HIDDEN]
            regimes |= {f"{framing}, a hand seen": seen, f"{framing}, hands hidden": hidden}
    regimes["all"] = tracked
    return {name: chosen for name, chosen in regimes.items() if chosen}


def _hands(row: Row) -> float:
    return max(row["left_hand"], row["right_hand"])


def _hidden_arms(rows: Sequence[Row]) -> Iterator[tuple[float, float]]:
    for row in rows:
        for side in ("left", "right"):
            if row.get(f"{side}_hand", 1.0) < _HIDDEN:
                yield row[f"{side}_forearm"], row[f"{side}_hangs"]


def _means(rows: Sequence[Row]) -> dict[str, float]:
    means: dict[str, float] = {"number": len(rows)}
    for key in (*_COLUMNS, "seconds"):
        values = [row[key] for row in rows if math.isfinite(row.get(key, math.nan))]
        means[key] = sum(values) / len(values) if values else math.nan
    return means


def _share(angles: Sequence[float]) -> float:
    return sum(angle <= 45.0 for angle in angles) / len(angles) if angles else math.nan


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a `rows.jsonl`; none where there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
