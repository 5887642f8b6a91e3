"""Videos with other estimators at hand: keyframes start at fused pictures, and it is said why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from video_people import OPTIONS, SIDE, KnownTracker

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.io.motion import load_motion
from presence.structures import PART_JOINTS, BodyParams, Camera, Estimate, PartEstimate
from presence.tracking.relaxed import JOINT
from presence.tracking.video import VideoTracker, open_frames
from presence.tracking.video.looks import FrameFits
from presence_plugins.trackers.fused_tracker import FusedTracker

ELBOW = JOINT["right_elbow"]


class FusedKnown(KnownTracker):
    """Has another estimator, which bends an elbow more than any landmark says."""

    others, missing = ("osx",), {"hamer": "its file is missing"}

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.fitted = []

    def fit(self, portrait, detection, *, betas=None):
        number = round(float(portrait.rgb[0, 0, 0]) * 255) // 5
        assert portrait.alpha.shape[-2:] == portrait.rgb.shape[-2:] and portrait.alpha.all()
        self.fitted.append((number, betas))
        tracking = self(dataclasses.replace(detection, notes=(str(number),)), None, betas=betas)
        pose = tracking.body.pose.clone()
        pose[ELBOW, 1] += 0.4
        source = "mediapipe" if number == 3 else "osx"
        parts = {"upper": PartEstimate(0.9, True, source, f"frame {number}")}
        return tracking.replace(body=tracking.body.replace(pose=pose), parts=parts)


def elbows(path):
    return load_motion(path).body.pose[:, ELBOW, 1]


def test_keyframes_start_at_the_fused_pictures(clip, body, landmarks, seen, tmp_path):
    options = dataclasses.replace(
        OPTIONS, refine=dataclasses.replace(OPTIONS.refine, steps=0.0, near=1e-3)
    )
    plain = KnownTracker(body, landmarks, seen, 14)
    VideoTracker(plain, options)(open_frames(clip(14)), tmp_path / "plain.npz")
    fused = FusedKnown(body, landmarks, seen, 14)
    result = VideoTracker(fused, options)(open_frames(clip(14)), tmp_path / "fused.npz")
    bent = elbows(tmp_path / "fused.npz") - elbows(tmp_path / "plain.npz")
    assert (bent[[0, 3, 6, 9, 12]] - 0.4).abs().max() < 0.05
    shape, keys = fused.fitted[:2], fused.fitted[2:]
    assert all(betas is None for _, betas in shape)
    assert all(torch.equal(betas, keys[0][1]) for _, betas in keys)  # one shape for the video
    lines = [note for note in result.notes if note.startswith("upper")]
    assert "osx in" in lines[0] and "such as: frame 0" in lines[0]
    assert "mediapipe in 1 of" in lines[1] and "frame 3" in lines[1]
    with np.load(tmp_path / "fused.npz") as file:
        assert tuple(file["notes"]) == result.notes


def test_a_stopped_run_still_knows_its_reasons(clip, body, landmarks, seen, tmp_path):
    folder, notes = clip(14), []
    for broken in (None, 9):
        tracker = FusedKnown(body, landmarks, seen, 14)
        tracker.broken = broken
        out = tmp_path / f"{broken}.npz"
        if broken is not None:
            with pytest.raises(RuntimeError, match="switched off"):
                VideoTracker(tracker, OPTIONS)(open_frames(folder), out)
            tracker.broken = None
        notes.append(VideoTracker(tracker, OPTIONS)(open_frames(folder), out).notes)
    assert notes[0] == notes[1] and len(notes[0]) == 2


def test_pictures_are_held_only_for_estimators_that_see_them(body, landmarks, seen):
    frame = np.full((SIDE, SIDE, 3), 5, np.uint8)
    plain = FrameFits(KnownTracker(body, landmarks, seen, 3), 1280)
    fused = FrameFits(FusedKnown(body, landmarks, seen, 3), 1280)
    assert plain.look(frame, masked=True).picture is None
    assert fused.look(frame, masked=False).picture is frame
    with pytest.raises(InputError):
        plain.tracker.nobody = {1}
        plain.tracker.detector(frame)


class FrameOsx(Estimator):
    """Knows the person of each grey level, in another model's shape."""

    name, asset, parts = "osx", "", tuple(PART_JOINTS)

    def __init__(self, known, device="cpu"):
        self.known = known

    def __call__(self, portrait, cues):
        number = round(float(portrait.rgb[0, 0, 0]) * 255) // 5
        if number == 6:
            raise InputError("it looked away")
        person, camera = self.known.people[number], self.known.camera
        pose = person.pose.clone()
        turn = camera.cam_from_world[:3, :3]
        pose[0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(pose[0]))
        body = BodyParams(torch.ones(10), torch.ones(10), pose, torch.tensor([0.0, 0.4, 3.0]))
        fine = PartEstimate(0.9, True, "osx", "made")
        return (
            Estimate(
                body,
                Camera(camera.K, torch.eye(4), camera.width, camera.height),
                parts=dict.fromkeys(PART_JOINTS, fine),
                expression_space="smplx",
                estimator="osx",
            ),
        )


def test_a_video_through_the_fused_tracker_itself(
    clip,
    body,
    landmarks,
    seen,
    tmp_path,
    monkeypatch,
):
    known = KnownTracker(body, landmarks, seen, 8)
    known.camera = seen.camera(known.people[0], "half", SIDE)
    tracker = FusedTracker(body=body, estimators={"osx": dict(type=FrameOsx, known=known)})
    monkeypatch.setattr(tracker.open, "detector", known.detector)
    monkeypatch.setattr(tracker.open, "segmenter", known)
    result = VideoTracker(tracker, OPTIONS)(open_frames(clip(8)), tmp_path / "t.npz")
    upper = [note for note in result.notes if note.startswith("upper")]
    assert upper[0].startswith("upper: osx in 3 of 4") and "half body" in upper[0]
    assert upper[1].startswith("upper: mediapipe in 1 of 4") and "it looked away" in upper[1]
    assert any(note.startswith("head stage: the body's own head") for note in result.notes)
    found = load_motion(tmp_path / "t.npz").body
    arms = [JOINT["left_elbow"], ELBOW]
    truth = torch.stack([person.pose[arms] for person in known.people])
    assert (found.pose[:, arms] - truth).abs().mean() < 0.12


def test_without_files_the_frames_are_fitted_as_by_the_open_tracker(
    clip,
    body,
    landmarks,
    seen,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setenv("PRESENCE_HOME", "/nowhere")
    known = KnownTracker(body, landmarks, seen, 7)
    fused = FusedTracker(body=body)
    for tracker, name in ((fused, "fused"), (fused.open, "open")):
        monkeypatch.setattr(fused.open, "detector", known.detector)
        monkeypatch.setattr(fused.open, "segmenter", known)
        result = VideoTracker(tracker, OPTIONS)(open_frames(clip(7)), tmp_path / f"{name}.npz")
        assert bool(result.notes) == (name == "fused")
        if result.notes:
            assert "mediapipe alone; not osx (its file is missing)" in result.notes[0]
    with np.load(tmp_path / "fused.npz") as one, np.load(tmp_path / "open.npz") as other:
        for name in set(one.files) - {"notes"}:
            assert np.array_equal(one[name], other[name]), name
