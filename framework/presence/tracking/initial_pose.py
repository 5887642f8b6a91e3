"""A first pose in closed form: turns the body by its shoulders, lays limbs along their bones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.tracking.detection import POSE, Detection
from presence.tracking.relaxed import JOINT, relaxed_pose

_SURE = 0.5  # confidence from which a landmark is followed
_STRAIGHT = 0.25  # sine of a bend below which it does not tell which way the limb is twisted
_HANGING_TILT = 12.0  # degrees, forwards, of a forearm that hangs


def initial_pose(detection: Detection) -> Tensor:
    """Returns [55 3] axis-angles (rad): the relaxed pose where nothing was seen.

    Arms and legs follow the detector's metric landmarks. Starting on the right side of the
    front-or-back ambiguity matters: least squares alone does not cross it.
    """
    pose = relaxed_pose()
    if "pose" not in detection.world:
        return pose
    pose[0, 1] = body_yaw(detection)
    root = axis_angle_to_matrix(pose[0])
    for side in ("left", "right"):
        outward = torch.tensor([1.0 if side == "left" else -1.0, 0.0, 0.0])
        _lay_limb(pose, detection, root, side, ("shoulder", "elbow", "wrist"), outward, bend=1.0)
        down = torch.tensor([0.0, -1.0, 0.0])
        _lay_limb(pose, detection, root, side, ("hip", "knee", "ankle"), down, bend=-1.0)
    return pose


def body_yaw(detection: Detection) -> float:
    """Returns the turn about the vertical (rad) of shoulders and hips in the metric landmarks."""
    if "pose" not in detection.world:
        return 0.0
    across = torch.zeros(3)
    for part in ("shoulder", "hip"):
        sure = detection.confidence(f"left_{part}", f"right_{part}")
        if sure > _SURE:
            world = detection.world["pose"]
            across += sure * (world[POSE[f"left_{part}"]] - world[POSE[f"right_{part}"]])
    # Picture axes to world axes: +z away from the camera is -z.
    return float(torch.atan2(across[2], across[0])) if float(across.norm()) > 0 else 0.0


def hanging_direction(detection: Detection) -> Tensor:
    """Returns the direction [3] (unit, world axes) in which a forearm hangs from its elbow.

    Elbows bend one way: hands hang a little before them.

    Args:
        detection: says which way the body is turned.
    """
    turn = axis_angle_to_matrix(torch.tensor([0.0, body_yaw(detection), 0.0]))
    tilt = math.radians(_HANGING_TILT)
    return turn @ torch.tensor([0.0, -math.cos(tilt), math.sin(tilt)])


def bent_limb(
    limb: Tensor, towards: Tensor, angle: float, rest: Tensor, sense: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Returns the axis-angles [3] (rad) of a limb's first and middle joint.

    Args:
        limb: [3] unit, where its first bone points, in the parent's axes.
        towards: [3] to which side of that it bends.
        angle: rad by which it bends.
        rest: [3] direction of the limb in the rest pose.
        sense: +1 where the limb's end bends forwards (elbow), -1 backwards (knee).
    """
    axis = torch.linalg.cross(rest, torch.tensor([0.0, 0.0, sense]))
    return matrix_to_axis_angle(_frame(limb, towards * sense, rest)), angle * axis


def _lay_limb(
    pose: Tensor,
    detection: Detection,
    root: Tensor,
    side: str,
    names: tuple[str, str, str],
    rest: Tensor,
    bend: float,
) -> None:
    """Turns a limb's first joint so that it points and bends as seen, and its second to bend.

    Args:
        pose: [55 3], changed.
        detection: with metric landmarks.
        root: [3 3] world rotation of the trunk.
        side: "left" or "right".
        names: first joint, middle joint, end.
        rest: [3] direction of the limb in the rest pose.
        bend: +1 where the limb's end bends forwards (elbow), -1 backwards (knee).
    """
    first, middle, last = (f"{side}_{name}" for name in names)
    if detection.confidence(first, middle) < _SURE:
        return
    upper = root.T @ _bone(detection, first, middle)
    relaxed = axis_angle_to_matrix(pose[JOINT[first]])
    forward = relaxed[:, 2] * bend
    forward = forward - (forward @ upper) * upper
    angle = 0.0
    if detection.confidence(last) >= _SURE:
        lower = root.T @ _bone(detection, middle, last)
        across = lower - (lower @ upper) * upper
        sine = float(across.norm())
        angle = float(torch.atan2(across.norm(), lower @ upper))
        share = min(sine / _STRAIGHT, 1.0) ** 2
        forward = (1 - share) * torch.nn.functional.normalize(forward, dim=0) + share * (
            across / max(sine, 1e-6)
        )
    turned, bent = bent_limb(upper, forward, angle, rest, bend)
    pose[JOINT[first]] = turned
    if detection.confidence(last) >= _SURE:
        pose[JOINT[middle]] = bent


def _frame(limb: Tensor, forward: Tensor, rest: Tensor) -> Tensor:
    """The rotation that brings `rest` to `limb` and +z as near to `forward` as can be."""
    z = torch.nn.functional.normalize(forward - (forward @ limb) * limb, dim=0)
    turned = torch.stack([limb, z, torch.linalg.cross(limb, z)], -1)
    ahead = torch.tensor([0.0, 0.0, 1.0])
    before = torch.stack([rest, ahead, torch.linalg.cross(rest, ahead)], -1)
    return turned @ before.T


def _bone(detection: Detection, start: str, end: str) -> Tensor:
    """Returns a unit bone direction in world axes."""
    world = detection.world["pose"]
    bone = (world[POSE[end]] - world[POSE[start]]) * torch.tensor([1.0, -1.0, -1.0])
    return torch.nn.functional.normalize(bone, dim=0)
