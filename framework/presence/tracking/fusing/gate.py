"""The visibility gate: which estimator each part comes from, by what was seen, with the reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from presence.tracking.detection import Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fusing.regimes import Framing, Group, RegimeMap, Rule
from presence.tracking.initial_pose import body_yaw

Chosen = Literal["body", "head", "face", "left_hand", "right_hand"]
CHOSEN: tuple[Chosen, ...] = ("body", "head", "face", "left_hand", "right_hand")
NEEDED = {"body": ("upper",), "head": ("head",), "face": ("face",)}
"""The parts of an `Estimate` that have to be valid for a choice; a hand needs itself.

Legs that were not seen do not stand in the way of a half body."""
_NAMES = {"head": "head", "half": "half body", "full": "full body"}
Refused = Mapping[tuple[str, str], str]
"""(estimator, part or "" for all) to the reason why it cannot be had."""


@dataclasses.dataclass(frozen=True)
class Sight:
    """What was seen of a person.

    Attributes:
        arms: confidence of the surer elbow, 0 outside the picture.
        lower: mean confidence of both knees.
        left_hand: confidence of its landmarks.
        right_hand: the same.
        yaw: degrees from facing the camera, 0..180.
    """

    arms: float
    lower: float
    left_hand: float
    right_hand: float
    yaw: float = 0.0


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where one part comes from.

    Attributes:
        part: of `CHOSEN`.
        estimator: its name; empty where the part keeps the relaxed pose.
        reason: why, one line.
    """

    part: Chosen
    estimator: str
    reason: str


def sight_of(detection: Detection) -> Sight:
    """Returns what the gate looks at.

    Args:
        detection: MediaPipe's, joined with Sapiens' keypoints where there are some
            (`presence.tracking.sapiens_points`): a hand that either of them sees is seen.
    """
    seen = visible_parts(detection)
    elbows = [detection.point(f"{side}_elbow") for side in ("left", "right")]
    arms = max(float(point[2] * detection.inside(point, 0.02)) for point in elbows)
    yaw = abs(math.degrees(body_yaw(detection)))
    return Sight(arms, seen["lower"], seen["left_hand"], seen["right_hand"], yaw)


def framing_of(sight: Sight, regimes: RegimeMap) -> tuple[Framing, str]:
    """Returns the framing and the figures that decided it."""
    arms, lower = regimes.seen["arms"], regimes.seen["lower"]
    figures = f"elbows {sight.arms:.2f} of {arms:.2f}, knees {sight.lower:.2f} of {lower:.2f}"
    framing: Framing = "head"
    if sight.arms >= arms:
        framing = "full" if sight.lower >= lower else "half"
    return framing, f"{_NAMES[framing]} ({figures})"


def is_upper_body(detection: Detection, regimes: RegimeMap) -> bool:
    """Returns whether a head or half a body is seen, which the refinement holds upright."""
    return framing_of(sight_of(detection), regimes)[0] != "full"


def choose(sight: Sight, regimes: RegimeMap, refused: Refused) -> tuple[Choice, ...]:
    """Chooses an estimator for each of `CHOSEN`.

    The map's order for the framing is gone through; estimators whose range of turns ends
    before the person's come after all others.

    Args:
        sight: what was seen.
        regimes: thresholds and orders.
        refused: estimators that cannot be had, or not for a part, and why.
    """
    framing, figures = framing_of(sight, regimes)
    return tuple(_choose(part, framing, figures, sight, regimes, refused) for part in CHOSEN)


def _choose(
    part: Chosen,
    framing: Framing,
    figures: str,
    sight: Sight,
    regimes: RegimeMap,
    refused: Refused,
) -> Choice:
    group: Group = "hand" if part in ("left_hand", "right_hand") else part  # type: ignore[assignment]
    if group == "hand":
        seen, needed = getattr(sight, part), regimes.seen["hand"]
        figures = f"hand seen {seen:.2f} of {needed:.2f}"
        if seen < needed:
            return Choice(part, "", f"{figures}: the hand keeps its relaxed pose")
    if group in ("head", "face"):
        figures = _NAMES[framing]
    rules = regimes.order[framing][group]
    within = [rule for rule in rules if sight.yaw <= rule.max_yaw]
    passed: list[str] = []
    for rule in (*within, *(rule for rule in rules if rule not in within)):
        why_not = refused.get((rule.estimator, "")) or refused.get((rule.estimator, part))
        if why_not:
            passed.append(f"not {rule.estimator} ({why_not})")
            continue
        return Choice(part, rule.estimator, _reason(rule, figures, sight, passed))
    why = "; ".join((figures, *passed, "nothing is left, so it keeps its relaxed pose"))
    return Choice(part, "", why)


def _reason(rule: Rule, figures: str, sight: Sight, passed: list[str]) -> str:
    turned = ""
    if sight.yaw > rule.max_yaw:
        turned = f", though turned {sight.yaw:.0f} degrees and reliable to {rule.max_yaw:.0f}"
    return "; ".join((figures, *passed, f"{rule.estimator} ({rule}){turned}"))
