"""The relaxed standing pose, and how far joints usually are from it."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies.joints import FINGERS, JOINT_NAMES, NUM_JOINTS

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}

# Axis-angle means and standard deviations (rad) of the left side; x is the person's left, y up,
# z forward in the T-pose. They are plain anatomical ranges, not learned.
_MEAN: dict[str, tuple[float, float, float]] = {
    "hip": (0.0, 0.0, 0.04),
    "knee": (0.08, 0.0, 0.0),
    "collar": (0.0, 0.0, -0.05),
    "shoulder": (0.0, -0.15, -1.1),
    "elbow": (0.0, -0.35, 0.0),
    "wrist": (0.0, 0.0, 0.0),
}
_SIGMA: dict[str, tuple[float, float, float]] = {
    "pelvis": (0.25, 1.5, 0.15),
    "hip": (0.5, 0.25, 0.2),
    "knee": (0.7, 0.1, 0.08),
    "ankle": (0.3, 0.2, 0.15),
    "foot": (0.15, 0.1, 0.1),
    "spine1": (0.12, 0.12, 0.1),
    "spine2": (0.12, 0.12, 0.1),
    "spine3": (0.12, 0.15, 0.1),
    "collar": (0.08, 0.15, 0.15),
    "neck": (0.25, 0.3, 0.2),
    "head": (0.2, 0.25, 0.15),
    "shoulder": (0.5, 0.6, 0.5),
    "elbow": (0.35, 0.8, 0.12),
    "wrist": (0.4, 0.25, 0.5),
    "jaw": (0.12, 0.03, 0.02),
    "eye": (0.15, 0.2, 0.005),
}
# Lower and upper limits (rad) of the left side.
_LIMITS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "knee": ((-0.05, -0.3, -0.2), (2.6, 0.3, 0.2)),
    "elbow": ((-1.2, -2.6, -0.3), (1.2, 0.05, 0.3)),
    "wrist": ((-1.2, -0.6, -1.4), (1.2, 0.6, 1.3)),
    "jaw": ((-0.02, -0.1, -0.05), (0.55, 0.1, 0.05)),
    "eye": ((-0.5, -0.6, -0.02), (0.5, 0.6, 0.02)),
    "head": ((-0.7, -0.9, -0.5), (0.7, 0.9, 0.5)),
    "neck": ((-0.7, -0.9, -0.5), (0.7, 0.9, 0.5)),
    **{finger: ((-0.4, -0.5, -1.8), (0.4, 0.5, 0.35)) for finger in FINGERS if finger != "thumb"},
}
_FINGER_MEAN = (0.0, 0.0, -0.22)
_FINGER_SIGMA = ((0.12, 0.2, 0.55), (0.06, 0.08, 0.6), (0.06, 0.08, 0.5))
_THUMB_MEAN = ((0.15, 0.1, -0.1), (0.05, 0.1, -0.05), (0.0, 0.1, 0.0))
_THUMB_SIGMA = ((0.35, 0.35, 0.35), (0.15, 0.3, 0.2), (0.12, 0.4, 0.2))


def relaxed_pose() -> Tensor:
    """Returns the relaxed pose [55 3]: standing, arms down, fingers slightly curled.

    Example:
        >>> relaxed_pose().shape
        torch.Size([55, 3])
    """
    return _table(0)


def pose_sigma() -> Tensor:
    """Returns the standard deviations [55 3] (rad) of each joint about `relaxed_pose`."""
    return _table(1)


def joint_limits() -> Tensor:
    """Returns lower and upper limits [2 55 3] (rad) of the axis-angle components.

    Only joints that bend one way, and those that would otherwise twist through themselves, have
    limits; the others' are wide open.
    """
    limits = torch.tensor([-4.0, 4.0])[:, None, None].repeat(1, NUM_JOINTS, 3)
    for index, name in enumerate(JOINT_NAMES):
        side, bare = _split(name)
        known = _LIMITS.get(bare) or _LIMITS.get(bare[:-1])
        if known is None:
            continue
        low, high = torch.tensor(known[0]), torch.tensor(known[1])
        if side == "right":  # y and z change sign, so that their limits swap
            flip = torch.tensor([1.0, -1.0, -1.0])
            first, second = low * flip, high * flip
            low, high = torch.minimum(first, second), torch.maximum(first, second)
        limits[0, index], limits[1, index] = low, high
    return limits


def _table(which: int) -> Tensor:
    table = torch.zeros(NUM_JOINTS, 3)
    for index, name in enumerate(JOINT_NAMES):
        side, bare = _split(name)
        values = torch.tensor(_entry(bare)[which])
        if side == "right" and which == 0:  # a mirrored rotation keeps x and flips y and z
            values = values * torch.tensor([1.0, -1.0, -1.0])
        table[index] = values
    return table


def _entry(bare: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    finger, link = bare[:-1], bare[-1:]
    if finger in FINGERS:
        position = int(link) - 1
        if finger == "thumb":
            return _THUMB_MEAN[position], _THUMB_SIGMA[position]
        return _FINGER_MEAN, _FINGER_SIGMA[position]
    return _MEAN.get(bare, (0.0, 0.0, 0.0)), _SIGMA[bare]


def _split(name: str) -> tuple[str, str]:
    for side in ("left", "right"):
        if name.startswith(f"{side}_"):
            return side, name[len(side) + 1 :]
    return "", name
