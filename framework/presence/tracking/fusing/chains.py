"""Rotations that part estimators see in the camera, as SMPL-X's rotations relative to parents."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies.joints import PARENTS
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle

PELVIS, SPINE3, NECK, HEAD = 0, 9, 12, 15
WRISTS = {"left_hand": 20, "right_hand": 21}
NECK_REACH = 1.22
"""rad: how far neck and head together turn (70 degrees); beyond it the trunk turns along."""


def chained(pose: Tensor, joint: int) -> Tensor:
    """Returns a joint's rotation [... 3 3] in the space of the body's root, from poses [... 55 3].

    Example:
        >>> pose = torch.zeros(55, 3)
        >>> pose[[0, 3], 1] = 0.5
        >>> round(float(chained(pose, 6)[0, 2].asin()), 4)
        1.0
    """
    rotation = axis_angle_to_matrix(pose[..., joint, :])
    while (joint := PARENTS[joint]) >= 0:
        rotation = axis_angle_to_matrix(pose[..., joint, :]) @ rotation
    return rotation


def with_joint(pose: Tensor, joint: int, rotation: Tensor) -> Tensor:
    """Returns the pose [55 3] in which a joint has a rotation [3 3] in the root's space.

    Only the joint itself turns: its parents stay, and what hangs on it goes along.
    """
    parents = chained(pose, PARENTS[joint])
    turned = pose.clone()
    turned[joint] = matrix_to_axis_angle(parents.mT @ rotation)
    return turned


def with_head(pose: Tensor, rotation: Tensor, *, trunk_follows: bool) -> Tensor:
    """Returns the pose [55 3] whose head has a rotation [3 3] in the root's space.

    Neck and head share the turn against the chest in equal halves about one axis, so their
    chain is exact.

    Args:
        pose: with the trunk in place.
        rotation: of the head.
        trunk_follows: whether nothing is known of the trunk, so that it turns about its own
            vertical by what neck and head cannot reach.
    """
    turned = pose.clone()
    if trunk_follows:
        local = chained(pose, SPINE3).mT @ rotation
        yaw = torch.atan2(local[0, 2], local[2, 2])  # where the face points, seen from above
        excess = yaw - yaw.clamp(-NECK_REACH, NECK_REACH)
        about = torch.stack([yaw.new_zeros(()), excess, yaw.new_zeros(())])
        root = axis_angle_to_matrix(pose[PELVIS]) @ axis_angle_to_matrix(about)
        turned[PELVIS] = matrix_to_axis_angle(root)
    share = matrix_to_axis_angle(chained(turned, SPINE3).mT @ rotation) / 2
    turned[NECK], turned[HEAD] = share, share
    return turned
