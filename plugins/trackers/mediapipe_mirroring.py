"""Steadies pose landmarks by those of the mirrored picture: their errors are half independent."""

from __future__ import annotations

import numpy as np

from presence.tracking.detection import POSE, POSE_NAMES
from presence_plugins.trackers.mediapipe_models import FoundPose

_AGREES = 0.2  # distance between two finds of one landmark, in trunk sizes
_AGREES_M = 0.15  # m, between their metric places
_PLACED = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


def _other(name: str) -> str:
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


_SWAPPED = [POSE[_other(name)] for name in POSE_NAMES]


def unmirrored(pose: FoundPose, width: float) -> FoundPose:
    """Brings a pose found in a mirrored picture back: sides change places, x its sign.

    Args:
        pose: px of the mirrored picture.
        width: of the picture, px.
    """
    points, world = pose.points[_SWAPPED].copy(), pose.world[_SWAPPED].copy()
    points[:, 0] = width - points[:, 0]
    world[:, 0] = -world[:, 0]
    return FoundPose(points, world, None)


def averaged(first: FoundPose, second: FoundPose) -> FoundPose:
    """Returns the mean of two finds where they agree, the first one elsewhere.

    Where the second lies elsewhere, one of them took another thing for the landmark; a mean would
    be neither. Confidences stay the first's.
    """
    trunk = first.points[[POSE[name] for name in _PLACED], :2]
    size = max(float(np.ptp(trunk, 0).max()), 1e-6)
    apart = np.linalg.norm(first.points[:, :2] - second.points[:, :2], axis=1) / size
    apart_m = np.linalg.norm(first.world - second.world, axis=1)
    points, world = first.points.copy(), first.world.copy()
    near, near_m = apart < _AGREES, (apart < _AGREES) & (apart_m < _AGREES_M)
    points[near, :2] = (first.points[near, :2] + second.points[near, :2]) / 2
    world[near_m] = (first.world[near_m] + second.world[near_m]) / 2
    return FoundPose(points, world, first.mask)
