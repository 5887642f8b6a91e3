import math

import pytest
import torch

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix
from presence.motion import Motion, retarget
from presence.motion.driver import motion_from_tracking
from presence.structures import BodyParams


def person(yaw: float = 0.0) -> BodyParams:
    pose = torch.zeros(55, 3)
    pose[0, 1] = yaw
    pose[12] = torch.tensor([0.1, 0.2, 0.0])  # neck
    return BodyParams(
        betas=torch.tensor([1.0, 2.0]),
        expression=torch.tensor([0.5, 0.0, 0.2]),
        pose=pose,
        translation=torch.tensor([0.3, 0.1, -2.0]),
    )


def clip(frames: int = 5, **options) -> Motion:
    pose = torch.zeros(frames, 55, 3)
    translation = torch.zeros(frames, 3)
    body = BodyParams(torch.zeros(frames, 0), torch.zeros(frames, 0), pose, translation)
    return Motion(body, **options)


def test_shape_stays_and_undriven_joints_stay():
    result = retarget(clip(joints=(15,)), person())
    assert torch.equal(result.betas, person().betas.expand(5, -1))
    assert torch.equal(result.pose[:, 12], person().pose[12].expand(5, -1))


def test_offsets_are_the_persons_and_never_the_motions():
    motion = clip()
    driven = motion.replace(body=motion.body.replace(offsets=torch.ones(5, 7, 3)))
    assert retarget(driven, person()).offsets is None
    own = torch.rand(7, 3)
    for given in (motion, driven):
        found = retarget(given, person().replace(offsets=own))
        assert torch.equal(found.offsets, own.expand(5, -1, -1))
    driver = motion_from_tracking(person().replace(offsets=own), {})
    assert driver.body.offsets is None
    assert driven.resampled(48.0).body.offsets is None


def test_the_path_starts_where_the_person_is_and_follows_their_heading():
    """A motion that starts facing +x and walks along +x walks ahead for every person."""
    motion = clip()
    pose, path = motion.body.pose.clone(), motion.body.translation.clone()
    pose[:, 0, 1] = math.pi / 2  # turned to +x
    path[:, 0] = torch.arange(5.0) + 7.0
    motion = motion.replace(body=motion.body.replace(pose=pose, translation=path))
    yaw = 0.4
    result = retarget(motion, person(yaw))
    torch.testing.assert_close(result.translation[0], person().translation)
    ahead = torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    travelled = result.translation[4] - result.translation[0]
    torch.testing.assert_close(travelled, 4 * ahead, atol=1e-5, rtol=0)
    facing = axis_angle_to_matrix(result.pose[:, 0])[:, :, 2]
    torch.testing.assert_close(facing, ahead.expand(5, -1), atol=1e-5, rtol=0)


def test_relative_joints_add_to_the_tracked_rotation():
    motion = clip(joints=(12,), relative_joints=(12,))
    pose = motion.body.pose.clone()
    pose[:, 12] = torch.tensor([0.0, 0.0, 0.3])
    result = retarget(motion.replace(body=motion.body.replace(pose=pose)), person())
    expected = axis_angle_to_matrix(person().pose[12]) @ axis_angle_to_matrix(pose[0, 12])
    torch.testing.assert_close(axis_angle_to_matrix(result.pose[0, 12]), expected)


def test_expressions_are_matched_by_name():
    motion = clip(expression_names=("smile", "unknown", "blink"), relative_expression=True)
    values = torch.tensor([0.9, 0.7, 0.4]).expand(5, 3)
    motion = motion.replace(body=motion.body.replace(expression=values))
    result = retarget(motion, person(), ["smile", "jaw", "blink"]).expression[2]
    torch.testing.assert_close(result, torch.tensor([1.0, 0.0, 0.6]))  # clamped at 1
    absolute = retarget(
        motion.replace(relative_expression=False), person(), ["smile", "jaw", "blink"]
    )
    torch.testing.assert_close(absolute.expression[2], torch.tensor([0.9, 0.0, 0.4]))


def test_unnamed_expressions_are_taken_by_position_or_refused():
    motion = clip()
    few = motion.replace(body=motion.body.replace(expression=torch.full((5, 2), 0.3)))
    torch.testing.assert_close(retarget(few, person()).expression[0], torch.tensor([0.3, 0.3, 0.0]))
    many = motion.replace(body=motion.body.replace(expression=torch.zeros(5, 10)))
    with pytest.raises(InputError, match="10 expression coefficients"):
        retarget(many, person())
