"""Videos with Sapiens' keypoints between keyframes: whom the body follows, and how smoothly."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from sapiens_people import sapiens_keypoints
from video_people import OPTIONS, SIDE, KnownTracker

from presence.errors import AssetError, ConfigError, InputError
from presence.interfaces import Estimator
from presence.io.motion import load_motion
from presence.structures import BodyParams, Camera, Estimate, Tracking, stack
from presence.tracking.detection import POSE
from presence.tracking.refinement import FrameStates, RefineOptions, Refiner, gather
from presence.tracking.refinement.posing import seen_by_camera
from presence.tracking.relaxed import JOINT
from presence.tracking.sapiens_points import SapiensPoints
from presence.tracking.video import VideoTracker, open_frames
from presence.tracking.video.keypoints import with_carried_keypoints
from presence.tracking.video.looks import FrameFits
from presence.tracking.video.watching import watch
from presence_plugins.trackers.fused_tracker import FusedTracker

ARM = [JOINT["left_elbow"], JOINT["left_wrist"]]
COUNT = 13
KEYS = {0, 6, 12}  # of one chunk
ONE_CHUNK = dataclasses.replace(
    OPTIONS,
    length=13,
    ahead=0,
    key=6,
    shape_frames=1,
    refine=RefineOptions(near=0.4, near_place=0.3, smooth=30.0),
)


class FrameSapiens(Estimator):
    """Projects the known person of each grey level; is sure, unsure, or fails, as it is told."""

    name, asset = "sapiens_pose", ""

    def __init__(self, known, unsure=(), broken=None, device="cpu"):
        self.known, self.unsure, self.broken, self.calls = known, unsure, broken, []

    def __call__(self, portrait, cues):
        if self.broken is not None:
            raise self.broken
        number = round(float(portrait.rgb[0, 0, 0]) * 255) // 5
        self.calls.append(number)
        known = self.known
        sure = 0.1 if number in self.unsure else 0.9
        keypoints = sapiens_keypoints(
            known.body, known.landmarks, known.people[number], known.camera, sure=sure
        )
        camera = Camera(known.camera.K, torch.eye(4), known.camera.width, known.camera.height)
        empty = BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3))
        return (Estimate(empty, camera, keypoints=keypoints, estimator="sapiens_pose"),)


class OffTracker(KnownTracker):
    """A person who waves between keyframes; in some frames MediaPipe takes the arm for still."""

    def __init__(self, body, landmarks, seen, count, off=()):
        super().__init__(body, landmarks, seen, count)
        self.off, self.still = set(off), list(self.people)
        for number, person in enumerate(self.still):
            pose = person.pose.clone()
            pose[JOINT["left_shoulder"], 2] += 0.2 - 0.2 * math.cos(math.pi * number / 3)
            self.people[number] = person.replace(pose=pose)

    def detector(self, image):
        detection = super().detector(image)
        number = int(detection.notes[0])
        if number not in self.off:
            return detection
        still = self.seen.detect(self.still[number], self.camera, ("pose", "face"))
        return dataclasses.replace(still, notes=detection.notes)


@pytest.fixture
def follow(clip, body, landmarks, seen, tmp_path, monkeypatch):
    """Tracks the clip, and tells where the arm is seen, and where it is in truth [T 2 2], px."""

    def run(off, every, options=ONE_CHUNK, name="t", **sapiens):
        known = OffTracker(body, landmarks, seen, COUNT, off)
        configs = {"sapiens_pose": dict(type=FrameSapiens, known=known, **sapiens)}
        tracker = FusedTracker(body=body, estimators={} if every is None else configs)
        monkeypatch.setattr(tracker.open, "detector", known.detector)
        monkeypatch.setattr(tracker.open, "segmenter", known)
        if every is not None:
            options = dataclasses.replace(options, sapiens_every=every)
        out = tmp_path / f"{name}.npz"
        result = VideoTracker(tracker, options)(open_frames(clip(COUNT)), out)
        with np.load(out) as file:
            K, pose = (torch.from_numpy(file[key]) for key in ("K", "cam_from_world"))
            betas = torch.from_numpy(file["betas"])
        camera, params = Camera(K, pose, SIDE, SIDE), load_motion(out).body
        places = [body(params[n].replace(betas=betas)).joints[ARM] for n in range(COUNT)]
        truth = [body(person).joints[ARM] for person in known.people]
        seen_at = torch.stack([camera.project(points)[0] for points in places])
        aims = torch.stack([known.camera.project(points)[0] for points in truth])
        return seen_at, aims, result, tracker

    return run


def gaps(run, numbers):
    found, truth, *_ = run
    return float((found - truth)[sorted(numbers)].norm(dim=-1).mean())


def test_frames_between_keyframes_follow_sapiens(follow):
    between = set(range(COUNT)) - KEYS
    alone = gaps(follow(between, None), between)
    at_keys = gaps(follow(between, 0), between)
    run = follow(between, 1)
    everywhere = gaps(run, between)
    assert alone > 2.0 and at_keys > 2.0  # px, of a person of 50
    assert everywhere < 0.35 * at_keys and everywhere < 0.35 * alone
    assert f"keypoints: sapiens_pose is sure of some in {COUNT} of {COUNT} frames" in run[2].notes
    assert sorted(run[3].estimator("sapiens_pose").calls) == sorted([6, *range(COUNT)])


@pytest.mark.parametrize("given", [dict(every=3), dict(every=1, unsure=(2, 5, 8))])
def test_frames_that_sapiens_did_not_see_keep_to_it(follow, given):
    """MediaPipe is off everywhere; between frames that Sapiens saw, so is not the arm."""
    everywhere = set(range(COUNT))
    run = follow(everywhere, **given)
    unseen = set(given.get("unsure", ())) or {1, 2, 4, 5, 7, 8, 10, 11}
    alone = follow(everywhere, None)
    assert gaps(run, unseen) < 0.4 * gaps(alone, unseen)


def test_a_chunk_of_both_networks_landmarks_stays_on_the_body(body, landmarks, seen):
    """Every second frame has Sapiens' landmarks, some without hands, the others MediaPipe's."""
    people = [seen.params(0, 0.2 + 0.01 * n) for n in range(6)]
    camera = seen.camera(people[0], "full")
    detections = [seen.detect(person, camera) for person in people]
    for n in (0, 2, 4):
        keypoints = sapiens_keypoints(body, landmarks, people[n], camera, hands=n != 2)
        detections[n] = SapiensPoints.of(keypoints, torch.ones(2)).join(detections[n])
    seen_people = [seen_by_camera(body, Tracking(person, camera)) for person in people]
    truth = FrameStates.from_params(stack(seen_people))
    both = gather(detections, [None] * 6, 800, 800)
    either = both.replace(taken=torch.zeros_like(both.taken))
    assert both.taken[2, 33 + 478 :].sum() == 0 and both.taken[4, 33 + 478 :].sum() == 42
    options = RefineOptions(near=5.0, near_place=5.0, prior=0.0, smooth=0.0, steps=2.0)
    refiner, chosen = Refiner(body, landmarks, options), [*range(1, 9), 16, 17, *ARM]
    errors, swings = [], []
    for evidence in (both, either):
        found = refiner(truth, evidence, float(camera.K[0, 0]))
        off = (body(found.params()).joints - body(truth.params()).joints)[:, chosen, :2]
        errors.append(float(off.norm(dim=-1).mean()))
        swings.append(float((off[1:] - off[:-1]).norm(dim=-1).mean()))
    assert errors[0] < 0.5 * errors[1] and swings[0] < 0.5 * swings[1]


@pytest.fixture
def moving(body, landmarks, seen):
    """Twelve frames of MediaPipe's detections, and of joined ones where Sapiens is."""
    people = [seen.params(0, 0.2 + 0.01 * n) for n in range(12)]
    camera = seen.camera(people[0], "full")
    detections = [seen.detect(person, camera) for person in people]

    def joined(numbers):
        result = list(detections)
        for n in numbers:
            keypoints = sapiens_keypoints(body, landmarks, people[n], camera)
            result[n] = SapiensPoints.of(keypoints, torch.ones(2)).join(detections[n])
        return result

    return detections, joined


def test_differences_are_carried_linearly_and_not_too_far(moving):
    detections, joined = moving
    some, every = joined([1, 5]), joined(range(12))
    found = with_carried_keypoints(detections, some, 3)
    hip = POSE["left_hip"]

    def shift(number, of):
        return (of[number].keypoints["pose"] - detections[number].keypoints["pose"])[hip, :2]

    middle = (3 * shift(1, some) + shift(5, some)) / 4
    torch.testing.assert_close(shift(2, found), middle, atol=1e-4, rtol=0)
    torch.testing.assert_close(shift(0, found), shift(1, some))
    torch.testing.assert_close(shift(8, found), shift(5, some))
    assert found[9] is detections[9] and found[1] is some[1]
    assert found[8].taken["pose"].sum() == 23 and found[8].taken["left_hand"].all()
    # The person turns slowly: what was carried is where Sapiens would have been.
    near = (found[3].keypoints["pose"] - every[3].keypoints["pose"])[found[3].taken["pose"], :2]
    assert near.norm(dim=-1).max() < 0.5
    moved = found[3].world["pose"] - detections[3].world["pose"]
    assert moved[hip, :2].abs().max() > 0 and (moved[:, 2] == 0).all()


def test_without_sapiens_nothing_is_carried(moving):
    detections, joined = moving
    found = with_carried_keypoints([*detections, None], [*detections, None], 8)
    assert all(one is other for one, other in zip(found, [*detections, None], strict=True))
    assert with_carried_keypoints(detections, [None, *joined([1])[1:]], 8)[0] is None


def test_what_mediapipe_saw_elsewhere_carries_nothing(moving):
    """Its hand was another thing: the difference tells nothing of the next frame."""
    detections, joined = moving
    far = detections[1].keypoints["left_hand"] - torch.tensor([90.0, 0.0, 0.0])
    beside = {**detections[1].keypoints, "left_hand": far}
    detections[1] = dataclasses.replace(detections[1], keypoints=beside)
    found = with_carried_keypoints(detections, joined([1]), 8)
    assert "left_hand" not in found[2].taken and found[2].taken["right_hand"].all()


def test_a_stopped_run_goes_on_to_the_same_result(clip, body, landmarks, seen, tmp_path):
    folder, files = clip(14), []
    options = dataclasses.replace(OPTIONS, sapiens_every=2)
    for broken in (None, 9):
        known = OffTracker(body, landmarks, seen, 14, range(3, 9))
        configs = {"sapiens_pose": dict(type=FrameSapiens, known=known)}
        tracker = FusedTracker(body=body, estimators=configs)
        tracker.open.detector, tracker.open.segmenter = known.detector, known
        known.broken, out = broken, tmp_path / f"{broken}.npz"
        if broken is not None:
            with pytest.raises(RuntimeError, match="switched off"):
                VideoTracker(tracker, options)(open_frames(folder), out)
            known.broken, known.calls = None, []
        VideoTracker(tracker, options)(open_frames(folder), out)
        files.append(out)
    assert not {0, 1, 2, 3} & set(known.calls)  # chunk and group of 4 begin at frame 4
    with np.load(files[0]) as one, np.load(files[1]) as other:
        for name in one.files:
            assert np.array_equal(one[name], other[name]), name


def test_another_choice_of_frames_begins_anew(body, landmarks, seen, clip):
    known = OffTracker(body, landmarks, seen, 3)
    source, plans = open_frames(clip(3)), []
    for every in (1, 2):
        tracker = VideoTracker(known, dataclasses.replace(OPTIONS, sapiens_every=every))
        plans.append(tracker._plan(source))
    assert plans[0] != plans[1]
    with pytest.raises(ConfigError, match="0 or more, got -1"):
        dataclasses.replace(OPTIONS, sapiens_every=-1)


def test_sapiens_sees_the_same_groups_wherever_a_run_begins(clip, body, landmarks, seen):
    source = open_frames(clip(13))
    groups = []

    class Grouped(OffTracker):
        others, sees_keypoints = ("sapiens_pose",), True

        def frame_keypoints(self, portraits, detections):
            groups.append([int(detection.notes[0]) for detection in detections])
            return [None] * len(portraits)

    frames = FrameFits(Grouped(body, landmarks, seen, 13), 1280)
    for first in (0, 6):
        looks = list(watch(frames, source, first, mask_every=4, sapiens_every=2))
        assert [int(look.detection.notes[0]) for look in looks] == list(range(first, 13))
        masked = [int(look.detection.notes[0]) for look in looks if look.mask is not None]
        assert masked == [n for n in (0, 4, 8, 12) if n >= first]
    assert groups == [[0, 2], [4, 6], [8, 10], [12], [4, 6], [8, 10], [12]]


@pytest.mark.parametrize("error", [InputError("too dark"), AssetError("the file is broken")])
def test_a_failing_sapiens_leaves_the_frames_to_mediapipe(follow, error):
    run = follow((), 1, broken=error)
    assert gaps(run, range(COUNT)) < 1.5
    lines = [note for note in run[2].notes if note.startswith("keypoints")]
    assert (
        len(lines) == 1
        and lines[0].startswith("keypoints: mediapipe in")
        and str(error) in lines[0]
    )


def test_without_its_file_the_frames_are_the_same_to_the_last_bit(
    clip, body, landmarks, seen, tmp_path, monkeypatch
):
    monkeypatch.setenv("PRESENCE_HOME", "/nowhere")
    missing = {"sapiens_pose": dict(type="SapiensPoseEstimator")}
    arrays = []
    for estimators, every in (({}, 2), (missing, 1), (missing, 0)):
        known = OffTracker(body, landmarks, seen, 8, (3,))
        tracker = FusedTracker(body=body, estimators=estimators)
        monkeypatch.setattr(tracker.open, "detector", known.detector)
        monkeypatch.setattr(tracker.open, "segmenter", known)
        options = dataclasses.replace(OPTIONS, sapiens_every=every)
        out = tmp_path / "t.npz"
        VideoTracker(tracker, options)(open_frames(clip(8)), out)
        with np.load(out) as file:
            arrays.append({name: file[name] for name in file.files if name != "notes"})
    for other in arrays[1:]:
        for name, values in arrays[0].items():
            assert np.array_equal(values, other[name]), name
