"""Which views may be reference and target: generated data pair from reliable to less reliable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from presence.errors import InputError, did_you_mean

Pairing = Literal["directional", "free"]

LABELS = ("front", "side", "back")
"""Labels of generated views, the most reliable first (paper 3.2): frames of a video are fronts,
edited pictures are sides and backs."""


def allowed_pairs(labels: Sequence[str], pairing: Pairing = "directional") -> list[tuple[int, int]]:
    """Returns the (reference, target) pairs of one person's views, in a fixed order.

    Directional (generated data): a view teaches only less reliable ones, so front to side, front
    to back, side to back, and never the other way round. Two fronts are frames of one video,
    equally reliable, and pair both ways; two sides, or two backs, were made independently and
    may contradict each other. Free (rendered data): every view is exact, so any two pair.

    Args:
        labels: of each view; `free` does not look at them.
        pairing: "directional" or "free".

    Raises:
        InputError: a directional label is not one of `LABELS`.

    Example:
        >>> allowed_pairs(["back", "front", "side"])
        [(1, 0), (1, 2), (2, 0)]
    """
    views = range(len(labels))
    if pairing == "free":
        return [(i, j) for i in views for j in views if i != j]
    rank = [_rank(label) for label in labels]
    return [
        (i, j)
        for i in views
        for j in views
        if i != j and (rank[i] < rank[j] or rank[i] == rank[j] == 0)
    ]


def label_of_yaw(yaw: float) -> str:
    """Returns the label of a view from its camera's turn around the person, rad.

    Fronts reach to 45 degrees to either side, sides from there to 135.

    Example:
        >>> label_of_yaw(0.3), label_of_yaw(-1.6), label_of_yaw(3.0)
        ('front', 'side', 'back')
    """
    turn = abs(math.remainder(yaw, 2 * math.pi))
    return LABELS[int(turn > math.pi / 4) + int(turn > 3 * math.pi / 4)]


def _rank(label: str) -> int:
    if label not in LABELS:
        raise InputError(
            f"unknown view label `{label}`.{did_you_mean(label, LABELS)} "
            f"Labels: {', '.join(LABELS)}; pairing='free' takes any."
        )
    return LABELS.index(label)
