"""Puts a motion on a person: their shape, their place and heading in the portrait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from presence.errors import InputError
from presence.geometry import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    quaternion_multiply,
    quaternion_to_matrix,
)
from presence.motion.clip import Motion, slerp
from presence.motion.curves import smoothstep
from presence.structures import BodyParams

PELVIS = 0


def retarget(
    motion: Motion, person: BodyParams, expression_names: Sequence[str] = ()
) -> BodyParams:
    """Returns the parameters [T] that move this person.

    The person keeps shape (betas and offsets), place, and every joint that the motion does not
    drive. The motion's heading in its first frame is laid onto the person's own orientation, and
    its path starts where the person is, so that a portrait's framing stays good. Of an upright
    motion, only the heading is the person's: how the pelvis leans is the motion's, as its spine is
    too.

    Args:
        motion: any motion.
        person: tracked parameters without batch axes.
        expression_names: the body model's names, to match a motion's named actions; actions that
            the body does not have are left out.

    Raises:
        InputError: the motion's unnamed expression has more coefficients than the person's.
    """
    frames = len(motion)
    body = motion.body.to(person.pose)
    tracked = person.pose.expand(frames, -1, -1)
    pose = _driven_pose(motion, body.pose, tracked)
    expression = _expression(motion, body.expression, person.expression, expression_names)
    base = _root_alignment(motion, body.pose, person.pose)
    path = (body.translation - body.translation[:1]) @ base.T
    weight = _ease_weight(motion).to(person.pose)
    tracked_expression = person.expression.expand(frames, -1)
    offsets = person.offsets
    return BodyParams(
        betas=person.betas.expand(frames, -1),
        expression=torch.lerp(tracked_expression, expression, weight[:, None]),
        pose=slerp(tracked, pose, weight[:, None]) if motion.ease else pose,
        translation=person.translation + weight[:, None] * path,
        offsets=None if offsets is None else offsets.expand(frames, -1, -1),
    )


def _driven_pose(motion: Motion, pose: Tensor, tracked: Tensor) -> Tensor:
    """Tracked rotations, with the driven joints replaced or added to [T 55 3]."""
    result = tracked.clone()
    absolute = [j for j in motion.joints if j not in motion.relative_joints]
    result[:, absolute] = pose[:, absolute]
    added = list(motion.relative_joints)
    if added:
        start = axis_angle_to_quaternion(tracked[:, added])
        total = quaternion_multiply(start, axis_angle_to_quaternion(pose[:, added]))
        result[:, added] = matrix_to_axis_angle(quaternion_to_matrix(total))
    if PELVIS in absolute:
        base = _root_alignment(motion, pose, tracked[0])
        result[:, PELVIS] = matrix_to_axis_angle(base @ axis_angle_to_matrix(pose[:, PELVIS]))
    return result


def _root_alignment(motion: Motion, pose: Tensor, tracked: Tensor) -> Tensor:
    """The rotation [3 3] from the motion's axes to the world."""
    orientation = axis_angle_to_matrix(tracked[PELVIS])
    if PELVIS not in motion.joints or PELVIS in motion.relative_joints:
        return orientation
    heading = _heading(axis_angle_to_matrix(pose[0, PELVIS]))
    return (_heading(orientation) if motion.upright else orientation) @ heading.T


def _heading(rotation: Tensor) -> Tensor:
    """The turn about the vertical [3 3] that is in a rotation: where its +z points to."""
    turn = torch.zeros(3).to(rotation)
    turn[1] = torch.atan2(rotation[0, 2], rotation[2, 2])
    return axis_angle_to_matrix(turn)


def _expression(motion: Motion, given: Tensor, tracked: Tensor, names: Sequence[str]) -> Tensor:
    """The motion's expression [T E'] in the person's coefficients [T E]."""
    result = torch.zeros(len(motion), tracked.shape[-1]).to(tracked)
    if motion.expression_names:
        known = [n for n in motion.expression_names if n in names]
        columns = [list(names).index(n) for n in known]
        result[:, columns] = given[:, [motion.expression_names.index(n) for n in known]]
    elif given.shape[-1] > tracked.shape[-1]:
        raise InputError(
            f"{motion.name} has {given.shape[-1]} expression coefficients, "
            f"but the avatar's body has {tracked.shape[-1]}"
        )
    else:
        result[:, : given.shape[-1]] = given
    if not motion.relative_expression:
        return result
    # Actions run from 0 to 1: adding a smile to a smile must not tear the face.
    high, low = tracked.clamp(min=1.0), tracked.clamp(max=0.0)
    return torch.minimum(torch.maximum(tracked + result, low), high)


def _ease_weight(motion: Motion) -> Tensor:
    """How much of the motion shows in each frame [T]: 0 at its ends, 1 from `ease` seconds on."""
    time = torch.arange(len(motion)) / motion.fps
    if not motion.ease:
        return torch.ones_like(time)
    end = motion.duration - 1 / motion.fps
    return smoothstep(time / motion.ease) * smoothstep((end - time) / motion.ease)
