"""Calibrated camera rigs: which camera sees a person turned by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from presence.errors import ConfigError, did_you_mean
from presence.structures import Camera


def camera_at(cameras: Mapping[str, Camera], reference: str, turn: float) -> str:
    """Returns the camera whose view is turned most nearly by `turn` degrees from the reference's.

    The turn is the angle between optical axes, whatever their direction around the person; of
    cameras that are as near, the first by name is taken.

    Args:
        cameras: by name.
        reference: a name.
        turn: degrees; 0 gives the reference itself.

    Raises:
        ConfigError: the rig has no such reference.
    """
    if reference not in cameras:
        raise ConfigError(
            f"the rig has no camera `{reference}`.{did_you_mean(reference, cameras)} "
            f"Cameras: {', '.join(sorted(cameras))}."
        )
    if turn == 0:
        return reference
    return min(
        sorted(cameras), key=lambda n: round(abs(angle_between(cameras, reference, n) - turn), 3)
    )


def angle_between(cameras: Mapping[str, Camera], first: str, second: str) -> float:
    """Returns the angle between two cameras' optical axes, degrees."""
    axes = [cameras[name].cam_from_world[2, :3].double() for name in (first, second)]
    cosine = torch.dot(*axes) / (axes[0].norm() * axes[1].norm())
    return math.degrees(math.acos(float(cosine.clamp(-1, 1))))
