import pytest
import torch

from presence.bodies import load_body
from presence.bodies.joints import JOINT_NAMES
from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix
from presence.io.motion import save_motion
from presence.motion import BUILTIN, builtin_motion, find_motion, retarget


@pytest.fixture(scope="module")
def body():
    return load_body("annyx")


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_motions_start_and_end_in_the_tracked_pose(name, body):
    person = body.default_params()
    person = person.replace(pose=torch.randn(55, 3, generator=torch.manual_seed(1)) * 0.1)
    frames = retarget(builtin_motion(name, 24), person, body.expression_names)
    for end in (0, -1):
        torch.testing.assert_close(
            axis_angle_to_matrix(frames.pose[end]),
            axis_angle_to_matrix(person.pose),
            atol=1e-3,
            rtol=0,
        )
        torch.testing.assert_close(frames.translation[end], person.translation, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_motions_are_smooth(name, body):
    """No joint moves faster than a person can, and none jumps between frames."""
    frames = retarget(builtin_motion(name, 60), body.default_params(), body.expression_names)
    joints = body(frames).joints
    speed = joints.diff(dim=0).norm(dim=-1) * 60
    assert speed.max() < 6.0  # metres a second: the fastest is the waving hand
    jerk = joints.diff(n=2, dim=0).norm(dim=-1) * 60**2
    assert jerk.max() < 150.0  # metres a second squared
    assert frames.expression.diff(dim=0).abs().max() < 0.35
    assert frames.expression.min() >= 0 and frames.expression.max() <= 1


def test_frame_rate_changes_the_count_and_not_the_motion():
    slow, fast = builtin_motion("walk", 12), builtin_motion("walk", 24)
    assert len(fast) == 2 * len(slow) and slow.duration == pytest.approx(fast.duration)
    torch.testing.assert_close(fast.body.pose[::2], slow.body.pose, atol=1e-5, rtol=0)
    again = fast.resampled(12)
    torch.testing.assert_close(
        axis_angle_to_matrix(again.body.pose),
        axis_angle_to_matrix(slow.body.pose),
        atol=1e-5,
        rtol=0,
    )


def test_wave_raises_the_right_hand_beside_the_head(body):
    frames = retarget(builtin_motion("wave", 24), body.default_params(), body.expression_names)
    joints = body(frames).joints
    hand = joints[:, JOINT_NAMES.index("right_middle1")]
    head = joints[:, JOINT_NAMES.index("head")]
    middle = slice(24, 50)
    assert (hand[middle, 1] > head[middle, 1] - 0.1).all()
    assert (hand[middle, 0] < head[middle, 0] - 0.15).all()
    turns = hand[middle, 0].diff().sign().diff().abs().sum() / 2
    assert turns >= 3  # to and fro
    left = JOINT_NAMES.index("left_wrist")
    assert (joints[:, left] - joints[0, left]).norm(dim=-1).max() < 0.08  # stays as it was


def test_walk_stands_on_the_ground_and_swings_against_the_legs(body):
    frames = retarget(builtin_motion("walk", 24), body.default_params(), body.expression_names)
    mesh = body(frames)
    feet = torch.cat([body.vertex_parts["left_foot"], body.vertex_parts["right_foot"]])
    steady = slice(12, -12)
    lowest = mesh.vertices[steady, feet, 1].amin(1)
    assert lowest.max() - lowest.min() < 0.05  # metres: no floating, no sinking
    index = JOINT_NAMES.index
    ankle = mesh.joints[steady, index("left_ankle"), 2] - mesh.joints[steady, 0, 2]
    wrist = mesh.joints[steady, index("left_wrist"), 2] - mesh.joints[steady, 0, 2]
    assert torch.corrcoef(torch.stack([ankle, wrist]))[0, 1] < -0.5
    knee = frames.pose[:, index("left_knee"), 0]
    assert knee.min() > -0.02  # knees never bend forward


def test_talk_opens_the_mouth_blinks_and_turns(body):
    frames = retarget(builtin_motion("talk", 24), body.default_params(), body.expression_names)
    open_, closed = frames.pose[:, JOINT_NAMES.index("jaw"), 0], body.expression_names
    assert open_.max() > 0.15 and open_.min() > -0.01
    mesh = body(frames)
    facing = (
        mesh.joints[:, JOINT_NAMES.index("left_eye")]
        - mesh.joints[:, JOINT_NAMES.index("right_eye")]
    )
    yaw = torch.rad2deg(torch.atan2(-facing[:, 2], facing[:, 0]))
    assert yaw.max() > 20 and yaw.min() < -20
    assert frames.expression[:, closed.index("eyeBlinkLeft")].max() > 0.9


def test_names_and_files_are_found(tmp_path):
    with pytest.raises(InputError, match="Did you mean `wave`"):
        find_motion("wav")
    with pytest.raises(InputError, match="does not exist"):
        find_motion(str(tmp_path / "mine.npz"))
    save_motion(tmp_path / "mine.npz", builtin_motion("wave", 24))
    assert find_motion(str(tmp_path / "mine.npz")).fps == 24
    assert len(find_motion(str(tmp_path / "mine.npz"), fps=12)) == 36
    assert len(find_motion("wave", fps=10)) == 30
