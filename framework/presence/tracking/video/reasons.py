"""Which estimators a video's keyframes came from, and why, in a few lines for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from presence.structures import Tracking
from presence.tracking.fusing.dense_models import HEAD_STAGE
from presence.tracking.sapiens_points import WHOSE

Reason = tuple[str, str, str]
"""A part of a keyframe, the estimator that it came from, and why; or a stage, and how it ran."""


def reasons_of(tracking: Tracking) -> list[Reason]:
    """Returns one keyframe's reasons; none where there was no choice."""
    parts = [(name, part.source, part.reason) for name, part in tracking.parts.items()]
    if not parts:
        return []
    notes = (note.removeprefix(HEAD_STAGE) for note in tracking.notes if HEAD_STAGE in note)
    whose = (note.removeprefix(WHOSE) for note in tracking.notes if note.startswith(WHOSE))
    keypoints = [("keypoints", note.split("'s")[0], note) for note in whose]
    return [*parts, *keypoints, *(("head stage", note, "") for note in notes)]


def summarize(reasons: Iterable[Reason]) -> list[str]:
    """Returns one line for each estimator of each part: in how many keyframes, and a first reason.

    Example:
        >>> lines = summarize([("head", "emica", "seen"), ("head", "osx", "turned")])
        >>> lines[0]
        'head: emica in 1 of 2 keyframes, such as: seen'
    """
    counts: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    first: dict[tuple[str, str], str] = {}
    for part, source, reason in reasons:
        counts[part, source] += 1
        totals[part] += 1
        first.setdefault((part, source), reason)
    return [
        f"{part}: {source} in {count} of {totals[part]} keyframes"
        + (f", such as: {first[part, source]}" if first[part, source] else "")
        for (part, source), count in counts.items()
    ]


def why_alone(others: tuple[str, ...], missing: Mapping[str, str]) -> list[str]:
    """Returns the line that says why no other estimator was asked; none where there was no choice.

    Example:
        >>> why_alone((), {"osx": "its file is missing"})
        ['keyframes: mediapipe alone; not osx (its file is missing)']
    """
    if others or not missing:
        return []
    passed = ", ".join(f"{name} ({reason})" for name, reason in missing.items())
    return [f"keyframes: mediapipe alone; not {passed}"]
