"""FLAME and MANO over a video: one head shape, frames without them weigh nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from flame_identities import Someone, centred, form_error
from flame_people import SIDE, SMILE, hand_model
from video_people import KnownTracker

from presence.bodies.mano import load_mano
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.io.motion import load_motion
from presence.structures import Camera
from presence.tracking.files import read_shape
from presence.tracking.fusing.dense_models import DenseModels
from presence.tracking.refinement import RefineOptions, Refiner
from presence.tracking.refinement.rim import rim_distances
from presence.tracking.relaxed import JOINT
from presence.tracking.video import VideoOptions, VideoTracker, open_frames
from presence_plugins.trackers.fused_tracker import FusedTracker

COUNT, WRIST = 10, JOINT["right_wrist"]
QUICK = RefineOptions(near=0.4, near_place=0.3, steps=0.5)
OPTIONS = VideoOptions(length=6, ahead=2, key=3, shape_frames=2, refine=QUICK)
OFF = torch.tensor([5.0, -3.0, 0.0])  # px: where the face points are too far right and up


class HeadsInFrames(Estimator):
    """Sees each frame's head exactly, in a shape of its own; nothing in some frames."""

    name, asset, parts = "emica", "", ("face",)

    def __init__(self, clip, differ=True, device="cpu"):
        self.clip, self.differ = clip, differ

    def __call__(self, portrait, cues):
        number = number_of(float(portrait.rgb[0, 0, 0]) * 255)
        if number in self.clip.failing:
            return ()
        estimate = self.clip.scenes[number].estimate()
        face = estimate.models["face"]
        if self.differ:
            face.shape[0] = 0.3 * (-1) ** number
        return (estimate,)


def number_of(grey):
    return round(grey) // 5


class Clip:
    """A head that turns, whose face points lie off, and what FLAME sees of it."""

    def __init__(self, scene, seen):
        self.scenes = [scene.turned(0.5 * float(np.sin(0.4 * n)), seen) for n in range(COUNT)]
        self.camera, self.failing = scene.camera, set()
        self.broken = None

    def detector(self, image):
        number = number_of(int(image[0, 0, 0]))
        if number == self.broken:
            raise RuntimeError("the machine was switched off")
        detection = self.scenes[number].detection
        keypoints = {**detection.keypoints, "face": detection.keypoints["face"] + OFF}
        return dataclasses.replace(detection, keypoints=keypoints)

    def probability(self, image, detection):
        return np.ones(image.shape[:2], np.float32)


@pytest.fixture
def known(scene, seen):
    return Clip(scene, seen)


@pytest.fixture
def track(known, scene, clip, tmp_path, monkeypatch):
    """Tracks the clip; returns the file and what the chunks' stages got of FLAME and MANO."""
    folder, given = clip(COUNT, SIDE), []
    call = Refiner.__call__

    def spy(self, start, *arguments, **options):
        if not options.get("betas"):  # not the shape's pass
            given.append((options["flame"], options["dense"]))
        return call(self, start, *arguments, **options)

    monkeypatch.setattr(Refiner, "__call__", spy)

    def run(name):
        given.clear()
        config = {"emica": dict(type=HeadsInFrames, clip=known)}
        tracker = FusedTracker(
            body=scene.body, landmarks="annyx", estimators=config, refine=False
        )  # keyframes are not refined alone: what FLAME does, it does in the chunks
        monkeypatch.setattr(tracker.open, "detector", known.detector)
        monkeypatch.setattr(tracker.open, "segmenter", known)
        result = VideoTracker(tracker, OPTIONS)(open_frames(folder), tmp_path / name)
        return tmp_path / name, list(given), result

    return run


def away(path, people, seen_by, body, ids):
    """Mean distance [T] of some of a body's vertices from where they are, px."""
    with np.load(path) as file:
        K, pose = torch.from_numpy(file["K"]), torch.from_numpy(file["cam_from_world"])
        betas = torch.from_numpy(file["betas"])
    camera, params = Camera(K, pose, SIDE, SIDE), load_motion(path).body
    gaps = []
    for number, person in enumerate(people):
        found = body(params[number].replace(betas=betas)).vertices[ids]
        truth = body(person).vertices[ids]
        gap = camera.project(found)[0] - seen_by.project(truth)[0]
        gaps.append(gap.norm(dim=-1).mean())
    return torch.stack(gaps)


def test_the_head_follows_flame_between_keyframes_too(home, known, track, scene, ids):
    known.failing = {3}
    path, given, _ = track("with.npz")
    heads, tracks = zip(*(flame for flame, _ in given), strict=True)
    # Chunks of frames 0 to 7, and 4 to 9 of which two are held; keyframes every third and last.
    assert [t.valid.tolist() for t in tracks] == [
        [1, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 1, 0, 0, 1],
    ]
    assert all(len(head.ids) == len(ids) for head in heads)
    (home / "body_models" / "flame" / "FLAME_NEUTRAL.npz").unlink()
    alone, given, _ = track("without.npz")
    assert given == [(None, []), (None, [])]
    with np.load(path) as one, np.load(alone) as other:
        assert set(one.files) - set(other.files) == {"offsets"}
    rows = [scene.body.expression_names.index(name) for name in SMILE]
    truth = torch.tensor([0.8, 0.5])
    found, other = (load_motion(file).body.expression[:, rows] for file in (path, alone))
    people = [scene.params for scene in known.scenes]
    gaps, others = (away(p, people, scene.camera, scene.body, ids) for p in (path, alone))
    assert others.min() > 4.0  # the face points are 5.8 px off
    assert gaps[[0, 6, 9]].max() < 1.5 and gaps.max() < 2.5
    assert (found - truth).abs()[[0, 6, 9]].max() < 0.2
    assert (found - truth).abs().mean() < 0.7 * (other - truth).abs().mean()


def test_flames_shape_is_one_for_the_video_and_a_stopped_run_keeps_it(home, known, track):
    path, given, _ = track("whole.npz")
    shapes = torch.stack([flame[1].shape for flame, _ in given])
    assert all(flame[1].known for flame, _ in given) and (shapes == shapes[0]).all()
    assert shapes[0, 0].abs() > 0.01  # frames say 0.3 and -0.3: the shape pass found its own
    known.broken = 8
    with pytest.raises(RuntimeError, match="switched off"):
        track("stopped.npz")
    known.broken = None
    again, later, _ = track("stopped.npz")
    assert len(later) == 1 and torch.equal(later[0][0][1].shape, shapes[0])
    with np.load(path) as one, np.load(again) as other:
        for name in one.files:
            assert np.array_equal(one[name], other[name]), name


def test_the_videos_file_has_flames_head_for_all_frames(
    identified, licensed, identities, seen, clip, tmp_path, monkeypatch
):
    """Of a person whose head is wider than their betas make it; a stopped run keeps it too."""
    offsets = torch.zeros(licensed.num_vertices, 3)
    fade = (rim_distances(licensed, identities.ids) / 0.03).clamp(0, 1)[:, None]
    wide = centred(licensed.v_template[identities.ids]) * torch.tensor([0.06, -0.03, 0.0])
    offsets[identities.ids] = fade * wide
    someone = Someone(licensed, seen, identities, torch.zeros(80), offsets=offsets)
    film, folder = Clip(someone, seen), clip(COUNT, SIDE)
    for name in ("whole.npz", "stopped.npz"):
        config = {"emica": dict(type=HeadsInFrames, clip=film, differ=False)}
        tracker = FusedTracker(body=licensed, landmarks="annyx", estimators=config, refine=False)
        monkeypatch.setattr(tracker.open, "detector", film.detector)
        monkeypatch.setattr(tracker.open, "segmenter", film)
        video = VideoTracker(tracker, OPTIONS)
        if name == "stopped.npz":
            film.broken = 8
            with pytest.raises(RuntimeError, match="switched off"):
                video(open_frames(folder), tmp_path / name)
            film.broken = None
        video(open_frames(folder), tmp_path / name)
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "stopped.npz") as other:
        for name in one.files:
            assert np.array_equal(one[name], other[name]), name
        person = read_shape(one)
    assert person["offsets"].shape == (licensed.num_vertices, 3)
    rest = licensed.default_params().replace(**person)
    found, own = (licensed(p).vertices[identities.ids] for p in (rest, rest.replace(offsets=None)))
    assert form_error(found, someone.head) < 1.2
    assert not torch.allclose(found, own, atol=1e-4)
    assert load_motion(tmp_path / "whole.npz").body.offsets is None


class HandsInFrames(KnownTracker):
    """Does not see that a wrist is bent, but for the MANO model of all frames save one."""

    others, missing = ("hamer",), {}

    def __init__(self, body, landmarks, seen, count):
        super().__init__(body, landmarks, seen, count)
        unbent = [p.replace(betas=torch.zeros_like(p.betas)) for p in self.people]
        self.camera = seen.camera(unbent[0], "half", SIDE)
        self.bent = []
        for person in unbent:
            pose = person.pose.clone()
            pose[WRIST, 2] += 0.5
            self.bent.append(person.replace(pose=pose))
        self.people = unbent

    def fit_parts(self, portrait, detection, *, betas=None, flame_shape=None):
        assert flame_shape is None
        person, pose = self.bent[int(detection.notes[0])], self.camera.cam_from_world
        at = self.camera.to_cam(self.body(person).joints[WRIST : WRIST + 1])[0]
        turned = person.pose.clone()
        turned[0] = matrix_to_axis_angle(pose[:3, :3] @ axis_angle_to_matrix(turned[0]))
        model = hand_model(self.body, turned, at, "right_hand", self.camera.K)
        models = {} if detection.notes[0] == "3" else {"right_hand": model}
        return self(detection, None, betas=betas), models


def test_hands_follow_mano_where_it_was_found(body, landmarks, seen, clip, hand, tmp_path):
    arrays, chosen = hand
    np.savez(tmp_path / "MANO_RIGHT.npz", **arrays)
    mano, folder = load_mano(tmp_path / "MANO_RIGHT.npz"), clip(7, SIDE)
    missing = []
    for models in (DenseModels(None, None, {}), DenseModels(None, mano, {"right_hand": chosen})):
        tracker = HandsInFrames(body, landmarks, seen, 7)
        video = VideoTracker(tracker, dataclasses.replace(OPTIONS, length=8, key=1))
        video.parts.models = models
        video(open_frames(folder), tmp_path / "t.npz")
        missing.append(away(tmp_path / "t.npz", tracker.bent, tracker.camera, body, chosen))
    unseen, followed = missing
    assert followed.max() < 0.5 * unseen.min()


def test_no_frame_of_the_shapes_pass_with_flame_leaves_the_mean_head(home, known, track):
    known.failing = set(range(COUNT)) - {6}
    path, given, _ = track("t.npz")
    assert [flame is not None for flame, _ in given] == [True, True]
    assert all(not flame[1].shape.any() for flame, _ in given)
    with np.load(path) as file:  # nobody knows the person's head: the body's own is delivered
        assert "offsets" not in file
