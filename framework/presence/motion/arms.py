"""Arm and hand poses from directions: where the upper arm and the forearm should point."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.bodies.joints import FINGERS
from presence.motion.frames import FrameSheet

Side = Literal["left", "right"]


def aim_arm(upper: Tensor, fore: Tensor, side: Side) -> tuple[Tensor, Tensor]:
    """Finds the shoulder and elbow rotations that point an arm.

    In the T-pose an arm lies along x, palm down, and the elbow bends forward, about y. The
    shoulder takes the arm to `upper` and turns it so that the elbow's own axis is the normal of
    the plane of both directions; the elbow then only bends, as elbows do, and the palm faces
    along that normal.

    Args:
        upper: [... 3] direction of the upper arm in the torso's axes.
        fore: [... 3] direction of the forearm, not parallel to `upper`.
        side: which arm.

    Returns:
        Rotation matrix of the shoulder [... 3 3] and rotation vector of the elbow [... 3].
    """
    sign = 1.0 if side == "left" else -1.0
    upper, fore = F.normalize(upper, dim=-1), F.normalize(fore, dim=-1)
    cross = torch.linalg.cross(upper, fore)
    hinge = -sign * F.normalize(cross, dim=-1)
    along = sign * upper  # image of +x
    shoulder = torch.stack([along, hinge, torch.linalg.cross(along, hinge)], -1)
    angle = torch.atan2(cross.norm(dim=-1), (upper * fore).sum(-1))
    bend = torch.zeros_like(upper)
    bend[..., 1] = -sign * angle
    return shoulder, bend


def set_arm(sheet: FrameSheet, side: Side, upper: Tensor, fore: Tensor) -> None:
    """Drives one arm of a sheet; directions are [3] or [T 3], see `aim_arm`."""
    shoulder, bend = aim_arm(upper, fore, side)
    sheet.set_matrix(f"{side}_shoulder", shoulder)
    sheet.set(f"{side}_elbow", bend)


def curl_fingers(sheet: FrameSheet, side: Side, degrees: Tensor | float, spread: float = 0) -> None:
    """Bends a hand's fingers towards the palm; the thumb bends a third as much.

    Args:
        sheet: the motion under construction.
        side: which hand.
        degrees: at each finger joint, a number or [T].
        spread: degrees between neighbouring fingers.
    """
    sign = 1.0 if side == "left" else -1.0
    fan = {"index": 1.0, "middle": 0.3, "ring": -0.4, "pinky": -1.1, "thumb": 0.0}
    for finger in FINGERS:
        share = 0.35 if finger == "thumb" else 1.0
        for link in (1, 2, 3):
            apart = -sign * fan[finger] * spread if link == 1 else 0.0
            bend = -sign * share * torch.as_tensor(degrees)
            sheet.turn(f"{side}_{finger}{link}", y=apart, z=bend, relative=False)
