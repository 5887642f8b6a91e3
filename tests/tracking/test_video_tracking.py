from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from video_people import OPTIONS, SIDE, KnownTracker

from presence.errors import ConfigError, InputError
from presence.interfaces import Tracker
from presence.io.images import save_png
from presence.io.motion import load_motion
from presence.io.video import write_video
from presence.pipeline.reenactment import find_driver
from presence.registry import TRACKERS
from presence.tracking.files import load_tracking
from presence.tracking.relaxed import JOINT
from presence.tracking.running import track_video
from presence.tracking.video import (
    OneEuroFilter,
    VideoTracker,
    open_frames,
    plan_chunks,
)
from presence.tracking.video.starts import between, keyframes


@pytest.fixture
def picture_tracker():
    """The config of a tracker that takes single pictures only."""

    @TRACKERS.register()
    class PictureTracker(Tracker):
        def __init__(self, body):
            self.body = body

        def __call__(self, portrait):
            raise AssertionError("videos must be refused before anything is tracked")

    yield {"type": "PictureTracker"}
    TRACKERS.module_dict.pop("PictureTracker")


def test_every_frame_counts_in_one_chunk():
    for frames in (1, 5, 6, 7, 40):
        chunks = list(plan_chunks(frames, length=6, ahead=2))
        counted = [i for chunk in chunks for i in range(chunk.fresh, chunk.kept)]
        assert counted == list(range(frames))
        for chunk in chunks[1:]:
            assert chunk.held == 2 and chunk.stop <= frames


def test_a_video_in_chunks_is_its_people(clip, body, landmarks, seen, tmp_path):
    tracker = KnownTracker(body, landmarks, seen, 14)
    out = tmp_path / "t.npz"
    result = VideoTracker(tracker, OPTIONS)(open_frames(clip(14)), out)
    assert (result.frames, result.tracked, result.fps) == (14, 14, 25.0)
    motion = load_motion(out)
    assert len(motion) == 14 and motion.fps == 25.0
    yaw = motion.body.pose[:, 0, 1]
    assert torch.allclose(yaw, torch.stack([p.pose[0, 1] for p in tracker.people]), atol=0.05)
    assert float(motion.body.translation[0].abs().max()) == 0
    with np.load(out) as file:
        assert file["betas"].shape == (body.num_betas,)
        assert np.allclose(file["betas"], tracker.people[0].betas.numpy(), atol=0.3)
        assert file["visibility"].shape == (14, 5) and file["tracked"].all()
        assert file["image_size"].tolist() == [SIDE, SIDE]
    assert not (tmp_path / "t.npz.parts").exists()
    driver = find_driver(str(out))
    assert len(driver) == 14 and 0 in driver.joints
    with pytest.raises(InputError, match="14 frames"):
        load_tracking(out)


def test_a_stopped_run_goes_on_to_the_same_result(clip, body, landmarks, seen, tmp_path):
    folder = clip(14)
    whole = KnownTracker(body, landmarks, seen, 14)
    VideoTracker(whole, OPTIONS)(open_frames(folder), tmp_path / "whole.npz")
    stopped = KnownTracker(body, landmarks, seen, 14)
    stopped.broken = 9
    with pytest.raises(RuntimeError, match="switched off"):
        VideoTracker(stopped, OPTIONS)(open_frames(folder), tmp_path / "again.npz")
    assert not (tmp_path / "again.npz").exists()
    stopped.broken, stopped.calls = None, []
    VideoTracker(stopped, OPTIONS)(open_frames(folder), tmp_path / "again.npz")
    assert 0 not in stopped.calls  # frames of finished chunks are not looked at again
    first, second = load_motion(tmp_path / "whole.npz"), load_motion(tmp_path / "again.npz")
    assert torch.equal(first.body.pose, second.body.pose)
    assert torch.equal(first.body.translation, second.body.translation)


def test_frames_without_anybody_are_bridged(clip, body, landmarks, seen, tmp_path):
    tracker = KnownTracker(body, landmarks, seen, 10, nobody=(4, 5))
    result = VideoTracker(tracker, OPTIONS)(open_frames(clip(10)), tmp_path / "t.npz")
    assert (result.frames, result.tracked) == (10, 8)
    assert "2 of 10" in result.notes[0]
    yaw = load_motion(tmp_path / "t.npz").body.pose[:, 0, 1]
    assert torch.allclose(yaw[4:6], torch.tensor([0.24, 0.25]), atol=0.05)


def test_a_video_of_nobody_is_refused(clip, body, landmarks, seen, tmp_path):
    tracker = KnownTracker(body, landmarks, seen, 3, nobody=range(3))
    with pytest.raises(InputError, match="nobody was found in any frame"):
        VideoTracker(tracker, OPTIONS)(open_frames(clip(3)), tmp_path / "t.npz")
    assert not (tmp_path / "t.npz").exists() and not (tmp_path / "t.npz.parts").exists()


def test_sources_that_are_none(clip, tmp_path, picture_tracker):
    with pytest.raises(InputError, match="no pictures"):
        open_frames(tmp_path)
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="not a video"):
        open_frames(tmp_path / "v.mp4")
    folder = clip(2)
    save_png(folder / "001.png", torch.zeros(3, 80, 80))
    with pytest.raises(InputError, match="one size"):
        list(open_frames(folder).frames())
    with pytest.raises(ConfigError, match="pictures only"):
        track_video(clip(2), picture_tracker, tmp_path / "t.npz", progress=False)


def test_frames_of_a_file_can_be_read_from_any_on(tmp_path):
    levels = [torch.full((3, 32, 32), i / 10) for i in range(6)]
    write_video(tmp_path / "v.mp4", levels, 12.0)
    source = open_frames(tmp_path / "v.mp4")
    assert (source.count, source.fps, source.height, source.width) == (6, 12.0, 32, 32)
    means = [frame.mean() / 255 for frame in source.frames(4)]
    assert means == pytest.approx([0.4, 0.5], abs=0.03)


def test_rotations_between_keys_are_on_the_arc(body):
    params = body.default_params()
    poses = []
    for angles in ((0.2, 0.4, -0.3), (0.9, -0.5, 0.4)):
        pose = params.pose.clone()
        pose[JOINT["left_shoulder"]] = torch.tensor(angles)
        poses.append(params.replace(pose=pose, translation=torch.tensor([angles[0], 0, 0])))
    states = between({1: poses[0], 5: poses[1]}, 7, params.betas)
    keys = Rotation.from_rotvec([p.pose[JOINT["left_shoulder"]].numpy() for p in poses])
    expected = Slerp([1, 5], keys)([1, 1, 2, 3, 4, 5, 5]).as_matrix()
    assert np.allclose(states.rotations[:, JOINT["left_shoulder"]].numpy(), expected, atol=1e-5)
    expected = np.interp(range(7), [1, 5], [0.2, 0.9])
    assert np.allclose(states.translation[:, 0].numpy(), expected, atol=1e-6)


def test_keyframes_are_frames_with_a_person():
    found = [True, False, True, True, False, False, True, False]
    assert keyframes(found, 0, 3) == [0, 3, 6]
    assert keyframes(found, 1, 8) == [2, 6]
    assert keyframes([False] * 3, 0, 2) == []


@pytest.mark.parametrize("rotations", [False, True])
def test_one_euro_steadies_and_follows(rotations):
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(60, 3, generator=generator)
    smooth = OneEuroFilter(25.0, rotations=rotations)
    calm = torch.stack([smooth(value) for value in noise])
    assert calm[20:].std() < 0.6 * noise[20:].std()
    smooth = OneEuroFilter(25.0, rotations=rotations)
    ramp = torch.linspace(0, 2.5, 25)[:, None] * torch.tensor([1.0, 0.0, 0.0])  # 2.5 a second
    followed = torch.stack([smooth(value) for value in ramp])
    assert float((ramp[-1] - followed[-1]).norm()) < 0.15
