"""The 55 joints of the SMPL-X layout: names, order, parents and the groups that code refers to."""

from __future__ import annotations

_BODY: tuple[tuple[str, int], ...] = (
    ("pelvis", -1),
    ("left_hip", 0),
    ("right_hip", 0),
    ("spine1", 0),
    ("left_knee", 1),
    ("right_knee", 2),
    ("spine2", 3),
    ("left_ankle", 4),
    ("right_ankle", 5),
    ("spine3", 6),
    ("left_foot", 7),
    ("right_foot", 8),
    ("neck", 9),
    ("left_collar", 9),
    ("right_collar", 9),
    ("head", 12),
    ("left_shoulder", 13),
    ("right_shoulder", 14),
    ("left_elbow", 16),
    ("right_elbow", 17),
    ("left_wrist", 18),
    ("right_wrist", 19),
    ("jaw", 15),
    ("left_eye", 15),
    ("right_eye", 15),
)

FINGERS: tuple[str, ...] = ("index", "middle", "pinky", "ring", "thumb")
"""Fingers in the order in which SMPL-X stores their joints (three each)."""


def _layout() -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = [name for name, _ in _BODY]
    parents = [parent for _, parent in _BODY]
    for side, wrist in (("left", 20), ("right", 21)):
        for finger in FINGERS:
            for link in range(3):
                parents.append(wrist if link == 0 else len(names) - 1)
                names.append(f"{side}_{finger}{link + 1}")
    return tuple(names), tuple(parents)


JOINT_NAMES, PARENTS = _layout()
"""Joint names, and for each the index of its parent (-1 for the pelvis)."""

NUM_JOINTS = len(JOINT_NAMES)
BODY_JOINTS = slice(1, 22)
JAW, LEFT_EYE, RIGHT_EYE = 22, 23, 24
LEFT_HAND, RIGHT_HAND = slice(25, 40), slice(40, 55)


def mirror_joint(name: str) -> str:
    """Returns the name of the joint on the other side, or `name` itself on the midline.

    Example:
        >>> mirror_joint("left_wrist")
        'right_wrist'
    """
    if name.startswith("left_"):
        return "right_" + name[5:]
    if name.startswith("right_"):
        return "left_" + name[6:]
    return name
