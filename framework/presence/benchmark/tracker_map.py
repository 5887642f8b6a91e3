"""`TrackerMap`: each estimator over framings, hands and turns, as the map that the gate reads."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from presence.benchmark.base import Benchmark, BenchmarkReport
from presence.errors import AssetError, ConfigError, InputError, PresenceError
from presence.io.atomic import append_line, write_text
from presence.registry import BENCHMARKS, ESTIMATORS, TRACKERS
from presence.tracking.fusing.regimes import FRAMINGS, RegimeMap
from presence.tracking.measuring.regime_fitting import Limits, Row, cells_of, fit_map

_GROUPS = {
    "body": "body, mm",
    "head": "head, deg",
    "face": "jaw, deg",
    "hand": "hand, mm",
    "keypoints": "keypoints, %",
}


@BENCHMARKS.register()
class TrackerMap(Benchmark):
    """Measures every estimator whose file is there, on rendered people and on pictures.

    Writes `regimes.json` (for `FusedTracker(regimes=...)`), `table.md`, `rows.jsonl` (one line a
    person; a second run goes on) and, with pictures, `pictures.json`.

    Args:
        people: in each framing and range of turns.
        yaws: edges (degrees) of the ranges of turns.
        estimators: name to config besides MediaPipe's; None for
            `presence.estimation.available.COMPARED`.
        pictures: folder of pictures, each with a JSON of the same name, `{"keypoints": {name:
            [x, y]}}` in px and the names of `presence.tracking.detection.POSE_NAMES`.
        limits: of `presence.tracking.measuring.regime_fitting.Limits`.
        base: map whose order and statements hold where nothing is measured; None for the one
            that ships.
        device: where the estimators run.
        folder: where the config lies, which `pictures` and `base` are relative to.

    Example:
        >>> TrackerMap(people=2).turns[:2]
        [(0.0, 30.0), (30.0, 60.0)]
    """

    def __init__(
        self,
        *,
        people: int = 8,
        yaws: Sequence[float] = (0, 30, 60, 90, 120, 150, 180),
        estimators: Mapping[str, Mapping[str, Any]] | None = None,
        pictures: str | None = None,
        limits: Mapping[str, float] | None = None,
        base: str | None = None,
        device: str = "cpu",
        folder: Path | None = None,
    ) -> None:
        from presence.estimation.available import COMPARED

        edges = [float(edge) for edge in yaws]
        if people < 1 or len(edges) < 2 or edges != sorted(set(edges)):
            raise ConfigError("benchmark.people should be positive, benchmark.yaws rising")
        self.people, self.turns = people, list(zip(edges, edges[1:]))
        self.estimators = dict(COMPARED if estimators is None else estimators)
        folder = folder or Path()
        self.pictures = None if pictures is None else folder / pictures
        if self.pictures is not None and not self.pictures.is_dir():
            raise ConfigError(f"benchmark.pictures: {self.pictures} is no folder")
        try:
            self.limits = Limits(**(limits or {}))  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigError(f"benchmark.limits: {error}") from error
        self.base = RegimeMap.load(None if base is None else folder / base)
        self.device = device

    def run(self, out: Path) -> BenchmarkReport:
        """Measures everybody who is not in `rows.jsonl` yet, and writes the map."""
        out.mkdir(parents=True, exist_ok=True)
        path = out / "rows.jsonl"
        kept = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        rows: list[Row] = [json.loads(line) for line in kept if line]
        bench = _Bench(self)
        for row in self._measure(bench, {row["name"] for row in rows}):
            append_line(path, json.dumps(row))
            rows.append(row)
        found = fit_map(rows, self.base, self.limits)
        found = dataclasses.replace(found, provenance={**found.provenance, **_provenance(self)})
        files = [out / "regimes.json", out / "table.md", path]
        table = markdown(rows, found, bench.missing)
        if self.pictures is not None:
            measured = bench.pictures(self.pictures)
            files.append(out / "pictures.json")
            write_text(files[-1], json.dumps(measured, indent=2))
            table += "\n" + pictures_table(measured)
        write_text(files[0], found.to_json())
        write_text(files[1], table + "\n")
        return BenchmarkReport(table, tuple(files))

    def _measure(self, bench: _Bench, done: set[str]) -> Iterator[Row]:
        from tqdm import tqdm

        wanted = [
            (framing, number, index)
            for index in range(self.people)  # in turn, so that a part of the run is fair
            for number in range(len(self.turns))
            for framing in FRAMINGS
            if f"{framing}_{number}_{index}" not in done
        ]
        if not wanted:
            return
        from presence.tracking.measuring.turned_people import TurnedPeople

        people = TurnedPeople(bench.body, self.turns)
        for framing, number, index in tqdm(wanted, desc="people", unit="person"):
            view = people.view(framing, number, index)
            row = {"name": f"{framing}_{number}_{index}", "framing": framing}
            yield {**row, "yaw": list(self.turns[number]), **bench.measure(view)}


class _Bench:
    """The detector, the estimators that are there, and why the others are not.

    Attributes:
        body: the model that rendered people are made of.
        missing: estimator to the reason why it is not measured.
    """

    def __init__(self, settings: TrackerMap) -> None:
        from presence.bodies import load_body
        from presence.estimation.available import missing_file
        from presence.tracking.landmarks import LandmarkMap

        self.body = load_body("annyx")
        self.landmarks = LandmarkMap.load("annyx")
        self.detector = TRACKERS.build(dict(type="MediaPipeTracker"), body=self.body)
        self.missing: dict[str, str] = {}
        self.estimators: dict[str, Any] = {}
        for name, config in settings.estimators.items():
            why = missing_file(config)
            try:
                if not why:
                    self.estimators[name] = ESTIMATORS.build(config, device=settings.device)
            except AssetError as error:
                why = str(error)
            if why:
                self.missing[name] = why
        open_fit = dict(type="MediaPipeEstimator", tracker=self.detector)
        self.estimators["mediapipe"] = ESTIMATORS.build(open_fit)

    def measure(self, view: Any) -> dict[str, Any]:
        """Returns `truth`, `sight` and `found` of one rendered person."""
        from presence.tracking.measuring.regime_scores import (
            score_estimate,
            score_keypoints,
            true_keypoints,
            truth_of,
        )

        points = true_keypoints(self.body, self.landmarks, view)

        def score(estimate: Any) -> dict[str, Any]:
            keypoints = score_keypoints(self.body, self.landmarks, estimate, points)
            return {**score_estimate(self.body, view, estimate), "keypoints": keypoints}

        sight, found = self._run(view.portrait, score)
        return {"truth": truth_of(self.body, view), "sight": sight, "found": found}

    def _run(self, portrait: Any, score: Any) -> tuple[dict[str, float] | None, dict[str, Any]]:
        """Detects, then runs every estimator on the cues; without a detection, on the box."""
        from presence.structures import Cues
        from presence.tracking.fusing.cues import cues_of, mask_box, nearest
        from presence.tracking.fusing.gate import sight_of
        from presence.tracking.measuring.turned_people import uncut

        sight, cues = None, Cues(person=mask_box(portrait))
        found: dict[str, Any] = {}
        plain = uncut(portrait)
        try:
            image, detection = self.detector.detect(plain)
            masked = self.detector.cut_out(plain, image, detection)
            sight = dataclasses.asdict(sight_of(detection))
            cues = cues_of(detection, masked)
            tracking = self.detector.fit(masked, detection)
            found["mediapipe"] = score(self.estimators["mediapipe"].estimate(tracking))
        except InputError as error:
            found["mediapipe"] = str(error)
        for name, estimator in self.estimators.items():
            if name == "mediapipe" or not estimator.parts:
                continue
            try:
                estimate = nearest(estimator(plain, cues), cues)
                found[name] = "it found nobody" if estimate is None else score(estimate)
            except PresenceError as error:
                found[name] = str(error)
        return sight, found

    def pictures(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Returns picture to estimator to the keypoints' error, or why there is none."""
        import torch

        from presence.io.images import load_portrait
        from presence.tracking.measuring.regime_scores import score_keypoints

        results = {}
        for path in sorted(folder.glob("*.json")):
            picture = next((p for p in sorted(folder.glob(f"{path.stem}.*")) if p != path), None)
            if picture is None:
                raise InputError(f"{path} has no picture of the same name beside it")
            points = _read_keypoints(path)
            known = {name: torch.tensor(place) for name, place in points.items()}

            def score(estimate: Any, known: Any = known) -> dict[str, Any]:
                error = score_keypoints(self.body, self.landmarks, estimate, known)
                return {"keypoints": error}

            results[picture.name] = self._run(load_portrait(picture), score)[1]
        return results


def markdown(rows: Sequence[Row], found: RegimeMap, missing: Mapping[str, str]) -> str:
    """Returns the regimes as a Markdown table, the thresholds, and who is missing."""
    heads = ["estimator", "framing", "turned", "hands", "people", "failures", *_GROUPS.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for cell in cells_of(rows):
        turned = f"{cell['yaw'][0]:.0f}-{cell['yaw'][1]:.0f}"
        start = [cell["estimator"], cell["framing"], turned, cell["hands"]]
        counts = [str(cell["people"]), str(cell["failures"])]
        errors = [f"{cell[group]:.1f}" if group in cell else "" for group in _GROUPS]
        lines.append("| " + " | ".join([*start, *counts, *errors]) + " |")
    told = found.provenance["thresholds"]
    lines += [
        "",
        *(f"Seen: {name} from {found.seen[name]:.2f}{_told(told, name)}." for name in told),
    ]
    lines += [f"Not measured: {name}: {why}." for name, why in missing.items()]
    return "\n".join(lines)


def pictures_table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the medians over pictures as a Markdown table."""
    lines = ["| estimator | pictures | failures | keypoints, % |", "|---|---|---|---|"]
    for name in dict.fromkeys(name for row in measured.values() for name in row):
        those = [row[name] for row in measured.values() if name in row]
        good = [row for row in those if isinstance(row, Mapping)]
        errors = [row["keypoints"] for row in good if row["keypoints"] is not None]
        median = f"{statistics.median(errors):.2f}" if errors else "another body model's"
        lines.append(f"| {name} | {len(those)} | {len(those) - len(good)} | {median} |")
    return "\n".join(lines)


def _told(told: Mapping[str, Any], name: str) -> str:
    return f", right in {100 * told[name]['balanced accuracy']:.0f}% (balanced)"


def _provenance(settings: TrackerMap) -> dict[str, Any]:
    import torch

    from presence import __version__

    return {
        "command": "python tools/benchmark.py configs/benchmarks/trackers.py --out DIR",
        "people in a cell": settings.people,
        "body": "annyx",
        "presence": __version__,
        "torch": torch.__version__,
    }


def _read_keypoints(path: Path) -> dict[str, list[float]]:
    from presence.tracking.detection import POSE

    try:
        points = json.loads(path.read_text(encoding="utf-8"))["keypoints"]
        places = {name: [float(place[0]), float(place[1])] for name, place in points.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f'{path} should be {{"keypoints": {{name: [x, y]}}}}') from error
    unknown = set(places) - set(POSE)
    if unknown or len(places) < 2:
        raise InputError(f"{path}: unknown keypoints {sorted(unknown)}; names are of {list(POSE)}")
    return places
