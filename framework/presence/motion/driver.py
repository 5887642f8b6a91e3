"""Another person's tracking as a motion: what was seen of them is driven, the rest stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from presence.motion.clip import Motion
from presence.structures import BodyParams

PART_JOINTS: dict[str, tuple[int, ...]] = {
    "head": (12, 15, 22, 23, 24),
    "upper": (0, 3, 6, 9, 13, 14, 16, 17, 18, 19, 20, 21),
    "lower": (1, 2, 4, 5, 7, 8, 10, 11),
    "left_hand": tuple(range(25, 40)),
    "right_hand": tuple(range(40, 55)),
}
"""SMPL-X joints of the parts whose visibility trackers report."""
SEEN = 0.5
"""Visibility from which a part of the driver is followed*."""


def seen_joints(visibility: Mapping[str, float]) -> tuple[int, ...]:
    """Returns the joints of the parts that were seen; all of them where nothing is known.

    Example:
        >>> seen_joints({"head": 1.0, "upper": 0.9, "lower": 0.1})[:6]
        (0, 3, 6, 9, 12, 13)
    """
    if not visibility:
        return tuple(range(55))
    seen = [part for part in PART_JOINTS if visibility.get(part, 0.0) >= SEEN]
    return tuple(sorted(joint for part in seen for joint in PART_JOINTS[part]))


def motion_from_tracking(
    body: BodyParams,
    visibility: Mapping[str, float],
    *,
    expression_names: Sequence[str] = (),
    fps: float = 24.0,
    seconds: float = 2.0,
    ease: float = 0.6,
    name: str = "driver",
) -> Motion:
    """Turns tracked parameters of a driver into a motion for anybody's avatar.

    A single frame becomes a pose that is taken up, held and left again; several frames are the
    motion itself. The driver's shape is left behind, see `presence.motion.retarget`.

    Args:
        body: [T] frames, or one without batch axes.
        visibility: part ("head", "upper", "lower", "left_hand", "right_hand") to 0..1; unseen
            parts keep the avatar's own pose.
        expression_names: of the driver's coefficients, to match another body's by name.
        fps: frames a second.
        seconds: length of a held pose.
        ease: seconds in which a held pose is taken up, and left.
        name: for messages.
    """
    body = body.replace(offsets=None)
    frames = body if body.batch_shape else body.unsqueeze()
    held = frames.batch_shape[0] == 1
    if held:
        count = max(2, round(seconds * fps))
        frames = frames.map(lambda value: value.expand(count, *value.shape[1:]))
    if "head" in visibility and visibility["head"] < SEEN:
        frames = frames.replace(expression=torch.zeros_like(frames.expression))
    return Motion(
        body=frames,
        fps=fps,
        expression_names=tuple(expression_names),
        joints=seen_joints(visibility),
        upright=True,
        ease=ease if held else 0.0,
        name=name,
    )
