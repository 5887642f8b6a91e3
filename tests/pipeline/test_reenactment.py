"""One person's pose and face on another's avatar, whose shape stays."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from known_person import KnownTracker

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.io.avatar import save_avatar
from presence.io.images import save_png
from presence.io.motion import save_motion
from presence.motion import builtin_motion, motion_from_tracking, retarget
from presence.motion.driver import PART_JOINTS, seen_joints
from presence.pipeline import animate, frame_portrait
from presence.pipeline.reenactment import find_driver
from presence.registry import TRACKERS
from presence.structures import Tracking
from presence.tracking.files import save_tracking

SEEN = {"head": 1.0, "upper": 0.9, "lower": 0.0, "left_hand": 0.8, "right_hand": 0.1}


@pytest.fixture(scope="module")
def driver(body):
    """Somebody of another shape, with raised arms, an open mouth and bent knees."""
    generator = torch.Generator().manual_seed(3)
    params = body.default_params()
    pose = 0.3 * torch.randn(55, 3, generator=generator)
    pose[0] = torch.tensor([0.0, 0.7, 0.0])  # turned to the side
    expression = torch.zeros(body.num_expression)
    expression[body.expression_names.index("jawOpen")] = 0.8
    return params.replace(
        betas=params.betas + 1.0, pose=pose, expression=expression,
        translation=torch.tensor([0.4, 0.0, 0.1]),
    )  # fmt: skip


@pytest.fixture
def tracking_file(driver, scene, tmp_path):
    path = tmp_path / "driver.npz"
    save_tracking(path, Tracking(driver, scene.camera, SEEN), body_name="annyx")
    return path


def test_the_pose_is_taken_up_and_the_person_stays(tracking_file, driver, scene, body):
    person = scene.body.replace(betas=torch.linspace(-0.5, 0.5, body.num_betas))
    clip = find_driver(str(tracking_file), 10.0)
    frames = retarget(clip, person, body.expression_names)
    middle = frames[len(clip) // 2]
    assert torch.equal(frames.betas, person.betas.expand_as(frames.betas))
    followed = [j for part in ("head", "upper", "left_hand") for j in PART_JOINTS[part] if j]
    torch.testing.assert_close(middle.pose[followed], driver.pose[followed], atol=1e-4, rtol=0)
    torch.testing.assert_close(middle.expression, driver.expression, atol=1e-5, rtol=0)
    left = [*PART_JOINTS["lower"], *PART_JOINTS["right_hand"]]
    torch.testing.assert_close(frames.pose[:, left], person.pose[left].expand(20, -1, -1))
    torch.testing.assert_close(middle.translation, person.translation)
    assert (middle.pose[0] - person.pose[0]).abs().max() < 1e-4  # the person's own heading
    for end in (0, -1):
        torch.testing.assert_close(frames[end].pose, person.pose, atol=1e-4, rtol=0)


def test_the_lean_is_the_drivers_and_the_heading_the_persons(driver, scene, body):
    """Turning the person about the vertical turns the result; leaning them changes nothing."""

    def held(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        pose, theirs = scene.body.pose.clone(), driver.pose.clone()
        pose[0], theirs[0] = matrix_to_axis_angle(own), matrix_to_axis_angle(other)
        clip = motion_from_tracking(driver.replace(pose=theirs), SEEN, fps=10)
        frames = retarget(clip, scene.body.replace(pose=pose))
        return axis_angle_to_matrix(frames.pose[10, 0])

    def about(axis: int, angle: float) -> torch.Tensor:
        return axis_angle_to_matrix(torch.eye(3)[axis] * angle)

    lean = about(0, 0.3)
    expected = about(1, 0.5) @ lean
    for own in (about(1, 0.5), about(1, 0.5) @ about(0, -0.4)):
        got = held(own, about(1, -0.8) @ lean)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_faces_of_other_bodies_are_matched_by_name(tracking_file, scene):
    clip = find_driver(str(tracking_file))
    names = ("smile", "jawOpen")
    person = scene.body.replace(expression=torch.zeros(2))
    frames = retarget(clip, person, names)
    torch.testing.assert_close(frames.expression[24], torch.tensor([0.0, 0.8]), atol=1e-5, rtol=0)


def test_what_is_unknown_counts_as_seen_and_an_unseen_face_is_not_copied(driver):
    assert seen_joints({}) == tuple(range(55))
    joints = [j for part in PART_JOINTS.values() for j in part]
    assert sorted(joints) == list(range(55))
    hidden = motion_from_tracking(driver, {**SEEN, "head": 0.2})
    assert hidden.body.expression.abs().max() == 0 and 15 not in hidden.joints


def test_several_frames_are_the_motion_itself(driver, scene, tmp_path):
    """A tracked video: the arrays of a tracking, one row a frame."""
    wave = builtin_motion("wave", 6)
    save_motion(tmp_path / "wave.npz", wave)
    arrays = dict(np.load(tmp_path / "wave.npz"))
    for name in ("joints", "relative_joints", "relative_expression", "ease"):
        arrays.pop(name)
    rows = np.array([list(SEEN.values())] * len(wave), np.float32)
    cameras = np.stack([scene.camera.cam_from_world.numpy()] * len(wave))
    extra = dict(cam_from_world=cameras, visibility_names=list(SEEN), visibility=rows)
    np.savez(tmp_path / "video.npz", **arrays, **extra)
    clip = find_driver(str(tmp_path / "video.npz"))
    assert len(clip) == len(wave) and clip.fps == 6 and clip.ease == 0
    assert torch.equal(clip.body.pose, wave.body.pose)
    assert clip.joints == seen_joints(SEEN)
    assert len(find_driver(str(tmp_path / "video.npz"), 3.0)) == len(wave) // 2


def test_a_picture_and_its_tracking_drive_alike(driver, scene, model, tmp_path):
    class DriverTracker(KnownTracker):
        def __init__(self) -> None:
            super().__init__(scene)

        def track(self, portrait):
            return portrait, Tracking(driver, scene.camera, SEEN)

    TRACKERS.register_module(name="DriverTracker", module=DriverTracker, force=True)
    framed, camera, _ = frame_portrait(scene.portrait, scene.camera, 128)
    with torch.no_grad():
        avatar = model.reconstruct(framed, scene.body, camera)
    save_avatar(avatar, tmp_path / "a.safetensors", {"body": "annyx"})
    save_png(tmp_path / "other.png", scene.portrait.rgb)
    save_tracking(tmp_path / "other.npz", Tracking(driver, scene.camera, SEEN), body_name="annyx")
    videos = []
    for name in ("other.png", "other.npz"):
        out = tmp_path / f"{name}.mp4"
        done = animate(
            tmp_path / "a.safetensors", str(tmp_path / name), out, fps=4, size=64,
            progress=False, tracker={"type": "DriverTracker"},
        )  # fmt: skip
        assert done.frames == 8
        videos.append(iio.imread(out, plugin="FFMPEG").astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 2
    assert np.abs(videos[0][0] - videos[0][4]).mean() > 1  # it moves


def test_a_video_is_tracked_and_followed(driver, tmp_path, monkeypatch):
    """The tracking of a video, one row a frame, becomes a motion of as many frames."""
    motion = builtin_motion("wave", 8.0)

    def track(path, tracker, out, **_):
        save_motion(out, motion)
        with np.load(out) as file:
            arrays = dict(file)
        shown = np.tile(np.array(list(SEEN.values()), np.float32), (len(motion), 1))
        names = np.array(list(SEEN), np.str_)
        np.savez(
            out, cam_from_world=np.eye(4), visibility=shown, visibility_names=names,
            body_name=np.array("annyx"), **arrays,
        )  # fmt: skip

    monkeypatch.setattr("presence.tracking.running.track_video", track)
    driven = find_driver(str(tmp_path / "dance.mp4"))
    assert len(driven) == len(motion) and driven.fps == 8.0
    assert driven.joints == seen_joints(SEEN) and driven.ease == 0
    assert torch.allclose(driven.body.pose, motion.body.pose)
    assert len(find_driver(str(tmp_path / "dance.mp4"), fps=4.0)) == len(motion) // 2


def test_what_cannot_drive(tmp_path):
    with pytest.raises(InputError, match="video dance.mp4 does not exist"):
        find_driver("dance.mp4")
    with pytest.raises(InputError, match="does not exist"):
        find_driver("nobody.jpg")
    (tmp_path / "broken.npz").write_text("hello")
    with pytest.raises(InputError, match="not a motion file"):
        find_driver(str(tmp_path / "broken.npz"))
    with pytest.raises(InputError, match="Did you mean `wave`"):
        find_driver("wvae")
