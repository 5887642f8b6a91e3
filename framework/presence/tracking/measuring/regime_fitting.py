"""From measured people to a `RegimeMap`: thresholds that tell best, and orders by error."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from presence.tracking.fusing.regimes import FRAMINGS, GROUPS, Framing, Group, RegimeMap, Rule
from presence.tracking.measuring.regime_scores import UNITS

Row = Mapping[str, Any]
"""One person: `framing`, `yaw` (low, high), `truth` (of `truth_of`), `sight` (None where nobody was
detected), and `found`: estimator to errors, or to a text why it gave none."""
SEEN, HIDDEN = 0.5, 0.1
"""Share of a hand from which it is seen, and below which it is hidden; between it says nothing."""
_HANDS = ("left_hand", "right_hand")
_FRONTAL = 60.0  # degrees
_AS_GOOD = 0.01  # balanced accuracy


@dataclasses.dataclass(frozen=True)
class Limits:
    """What counts as reliable.

    Attributes:
        failures: share of people whom an estimator may miss.
        body: mm.
        head: degrees.
        face: degrees.
        hand: mm.
        fewest: people below which a cell says nothing.
    """

    failures: float = 0.2
    body: float = 60.0
    head: float = 20.0
    face: float = 12.0
    hand: float = 45.0
    fewest: int = 3


def fit_map(rows: Sequence[Row], base: RegimeMap, limits: Limits) -> RegimeMap:
    """Returns the map that the rows speak for.

    Estimators that were measured are put in order of error among themselves, in the places
    that they have in `base`; those that were not keep place and statement.

    Args:
        rows: the measurements.
        base: thresholds and order where nothing was measured.
        limits: what counts as reliable.
    """
    cells = tuple(cells_of(rows))
    thresholds = {name: threshold(*samples(rows, name)) for name in base.seen}
    seen = {
        name: base.seen[name] if found is None else found[0] for name, found in thresholds.items()
    }
    order: dict[Framing, dict[Group, tuple[Rule, ...]]] = {
        framing: {
            group: _ordered(base.order[framing][group], cells, framing, group, limits)
            for group in GROUPS
        }
        for framing in FRAMINGS
    }
    told = {
        name: {"threshold": round(found[0], 3), "balanced accuracy": round(found[1], 3)}
        for name, found in thresholds.items()
        if found is not None
    }
    provenance = {**base.provenance, "people": len(rows), "thresholds": told}
    provenance["limits"] = dataclasses.asdict(limits)
    return RegimeMap(seen, order, agreement(rows, base.agree), cells, provenance)


def agreement(rows: Iterable[Row], otherwise: float) -> float:
    """Returns three times what 90% of frontal people stay below (keypoints, MediaPipe's fit)."""
    errors = sorted(
        found["keypoints"]
        for row in rows
        if row["yaw"][1] <= _FRONTAL
        and isinstance(found := row["found"].get("mediapipe"), Mapping)
        and found.get("keypoints") is not None
    )
    return round(3 * errors[int(0.9 * (len(errors) - 1))], 2) if errors else otherwise


def samples(rows: Iterable[Row], feature: str) -> tuple[list[float], list[bool]]:
    """Returns what was detected of a feature, and whether it is really there, over all people."""
    values, labels = [], []
    for row in rows:
        if row["sight"] is None:
            continue
        if feature != "hand":
            values.append(row["sight"][feature])
            labels.append(row["truth"][feature] > 0.5)
            continue
        for hand in _HANDS:
            share = row["truth"][hand]
            if not HIDDEN <= share <= SEEN:
                values.append(row["sight"][hand])
                labels.append(share > SEEN)
    return values, labels


def threshold(values: Sequence[float], labels: Sequence[bool]) -> tuple[float, float] | None:
    """Returns a threshold that tells as well as any, and its balanced accuracy.

    The middle of the widest range whose thresholds are all within `_AS_GOOD` of the best one, so
    that a few people do not move it far; None where one of the two cases was never met.

    Example:
        >>> threshold([0.1, 0.2, 0.7, 0.9], [False, False, True, True])
        (0.45, 1.0)
    """
    positive = sum(labels)
    negative = len(labels) - positive
    if not positive or not negative:
        return None

    def accuracy(cut: float) -> float:
        hits = sum(v >= cut for v, label in zip(values, labels) if label) / positive
        rejections = sum(v < cut for v, label in zip(values, labels) if not label) / negative
        return (hits + rejections) / 2

    levels = sorted({*values, 0.0, 1.0})
    gaps = [(low, high, accuracy((low + high) / 2)) for low, high in zip(levels, levels[1:])]
    best = max(found for _, _, found in gaps)
    ranges: list[tuple[float, float]] = []
    for low, high, found in gaps:
        if found < best - _AS_GOOD:
            continue
        if ranges and ranges[-1][1] == low:
            low = ranges.pop()[0]
        ranges.append((low, high))
    low, high = max(ranges, key=lambda ends: ends[1] - ends[0])
    cut = round((low + high) / 2, 4)
    return cut, accuracy(cut)


def cells_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns one row for each estimator, framing, range of turns, and hands seen or hidden."""
    cells = []
    estimators = dict.fromkeys(name for row in rows for name in row["found"])
    turns = sorted({tuple(row["yaw"]) for row in rows})
    for name in estimators:
        for framing in FRAMINGS:
            for turn in turns:
                for hands in ("seen", "hidden"):
                    chosen = [
                        row
                        for row in rows
                        if row["framing"] == framing
                        and tuple(row["yaw"]) == turn
                        and name in row["found"]
                        and _hands(row) == hands
                    ]
                    if chosen:
                        where = {"framing": framing, "yaw": list(turn), "hands": hands}
                        cells.append({"estimator": name, **where, **_summary(chosen, name)})
    return cells


def _hands(row: Row) -> str:
    return "seen" if max(row["truth"][hand] for hand in _HANDS) > SEEN else "hidden"


def _summary(rows: Sequence[Row], name: str) -> dict[str, Any]:
    found = [row["found"][name] for row in rows]
    good = [(row, errors) for row, errors in zip(rows, found) if isinstance(errors, Mapping)]
    cell: dict[str, Any] = {"people": len(rows), "failures": len(rows) - len(good)}
    for group in ("body", "head", "face", "keypoints"):
        values = [errors[group] for _, errors in good if errors.get(group) is not None]
        if values:
            cell[group] = round(statistics.median(values), 2)
    hands = [
        errors[hand]
        for row, errors in good
        for hand in _HANDS
        if hand in errors and row["truth"][hand] > SEEN
    ]
    if hands:
        cell["hand"], cell["hands measured"] = round(statistics.median(hands), 2), len(hands)
    return cell


def _ordered(
    rules: tuple[Rule, ...],
    cells: Sequence[Mapping[str, Any]],
    framing: Framing,
    group: Group,
    limits: Limits,
) -> tuple[Rule, ...]:
    measured = {}
    for rule in rules:
        found = _measured(rule.estimator, cells, framing, group, limits)
        if found is not None:
            measured[rule.estimator] = found
    best = iter(sorted(measured.values(), key=lambda rule: rule.error or math.inf))
    return tuple(next(best) if rule.estimator in measured else rule for rule in rules)


def _measured(
    name: str,
    cells: Sequence[Mapping[str, Any]],
    framing: Framing,
    group: Group,
    limits: Limits,
) -> Rule | None:
    """One estimator's rule; None where it was not measured for the group."""
    by_turn: dict[tuple[float, float], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["estimator"] == name and cell["framing"] == framing:
            by_turn.setdefault(tuple(cell["yaw"]), []).append(cell)
    errors, people, reach = [], 0, 0.0
    reliable = True
    for (_, high), those in sorted(by_turn.items()):
        count = sum(cell["people"] for cell in those)
        failed = sum(cell["failures"] for cell in those) / count
        weights = [
            (cell[group], cell["people"] - cell["failures"]) for cell in those if group in cell
        ]
        if not weights or count < limits.fewest:
            reliable = reliable and not (count >= limits.fewest and failed > limits.failures)
            continue
        error = sum(value * weight for value, weight in weights) / sum(w for _, w in weights)
        reliable = reliable and failed <= limits.failures and error <= getattr(limits, group)
        if reliable:
            reach = high
            errors += [value for value, weight in weights for _ in range(weight)]
            people += count
    if not any(group in cell for those in by_turn.values() for cell in those):
        return None
    if not errors:  # measured, and nowhere reliable: after all others within their range
        every = [cell[group] for those in by_turn.values() for cell in those if group in cell]
        value = round(statistics.median(every), 2)
        return Rule(name, "measured", "never within the limits", value, UNITS[group], 0.0)
    why = f"median over {people} rendered people turned up to {reach:.0f} degrees"
    value = round(statistics.median(errors), 2)
    return Rule(name, "measured", why, value, UNITS[group], reach)
