"""The fused tracker with Sapiens' keypoints: they move the body, and their hands call HaMeR."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from sapiens_people import hands_of, sapiens_keypoints
from test_fused_tracker import FINE, SIZE, Known, Person, hamer, osx

from presence.errors import InputError
from presence.structures import BodyParams, Camera, Estimate, Portrait
from presence.tracking.detection import POSE, Detection
from presence.tracking.fusing.start_refining import FAR, StartRefiner
from presence.tracking.relaxed import JOINT
from presence.tracking.sapiens_points import SapiensPoints
from presence.tracking.turned_views import track_turned
from presence.tracking.video.reasons import reasons_of
from presence_plugins.trackers.fused_tracker import FusedTracker
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker

QUICK = dataclasses.replace(FAR, steps=0.5)


class Farther(Person):
    """The same person from farther away, so that hands, or all, are in the picture."""

    def __init__(self, joint="spine3", distance=3.9) -> None:
        super().__init__()
        aim = self.body(self.params).joints[JOINT[joint]] - torch.tensor([0.0, 0.1, 0.0])
        eye = aim + torch.tensor([0.0, 0.0, distance])
        self.camera = Camera.look_at(eye, aim, math.radians(20), SIZE[1], SIZE[0])
        mesh, keypoints, world = self.body(self.params), {}, {}
        for name, before in self.detection.keypoints.items():
            points = self.landmarks.points(self.body, name, mesh)
            px, _ = self.camera.project(points)
            inside = ((px > 0) & (px < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
            sure = 0.9 * inside[:, None] if distance > 5 else before[:, 2:]
            keypoints[name] = torch.cat([px, sure], -1)
            world[name] = self.camera.to_cam(points)
        self.detection = Detection(SIZE[1], SIZE[0], keypoints, world)


@pytest.fixture(scope="module")
def person():
    return Farther()


def sapiens(person, keypoints):
    camera = Camera(person.camera.K, torch.eye(4), SIZE[1], SIZE[0])
    empty = BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3))
    return Estimate(empty, camera, keypoints=keypoints, estimator="sapiens_pose")


def seen_by_sapiens(person, params=None, **options):
    params = person.params if params is None else params
    return sapiens_keypoints(person.body, person.landmarks, params, person.camera, **options)


def fused(person, monkeypatch, detection, **estimators):
    """A tracker whose MediaPipe fit is the true one, and whose stages are quick."""
    configs = {name: dict(type=Known, estimate=value) for name, value in estimators.items()}
    tracker = FusedTracker(body=person.body, estimators=configs)
    monkeypatch.setattr(tracker.open, "fit", lambda portrait, detection, **_: person.tracking())
    monkeypatch.setattr(tracker.open, "detect", lambda portrait: (None, detection))
    monkeypatch.setattr(tracker.open, "cut_out", lambda portrait, image, detection: portrait)
    tracker.refiner = StartRefiner(person.body, person.landmarks, QUICK)
    return tracker


def without_hands(detection):
    keypoints = {k: v for k, v in detection.keypoints.items() if "hand" not in k}
    world = {k: v for k, v in detection.world.items() if "hand" not in k}
    return dataclasses.replace(detection, keypoints=keypoints, world=world)


def places(person, tracking):
    """Where the joints are seen [55 2], px."""
    px, _ = tracking.camera.project(person.body(tracking.body).joints)
    return px


def raised(person):
    """The person with the left arm elsewhere than MediaPipe has it."""
    pose = person.params.pose.clone()
    pose[JOINT["left_shoulder"]] += torch.tensor([0.0, 0.0, 0.35])
    return person.params.replace(pose=pose)


def test_the_body_follows_sapiens_keypoints(person, monkeypatch):
    truth = raised(person)
    keypoints = seen_by_sapiens(person, truth)
    given = dict(osx=osx(person), sapiens_pose=sapiens(person, keypoints))
    joints = [JOINT["left_elbow"], JOINT["left_wrist"]]
    aim, _ = person.camera.project(person.body(truth).joints)
    away = {}
    for names in (("osx",), ("osx", "sapiens_pose")):
        tracker = fused(
            person, monkeypatch, person.detection, **{name: given[name] for name in names}
        )
        found = tracker(person.portrait)
        assert found.parts["upper"].source == "made"
        away[names] = (places(person, found) - aim)[joints].norm(dim=-1)
        whose = [note for note in found.notes if note.startswith("keypoints")]
        assert bool(whose) == ("sapiens_pose" in names)
    without, with_them = away.values()
    assert without.min() > 40  # px: MediaPipe and OSX have the arm elsewhere
    assert (with_them < 0.4 * without).all()
    assert "sapiens_pose's for" in whose[0] and "the left hand" in whose[0]


def test_hands_that_only_sapiens_sees_call_hamer(person, monkeypatch):
    unseen = without_hands(person.detection)
    keypoints = seen_by_sapiens(person)
    for left in (True, False):
        hands = {n: p.clone() for n, p in hands_of(keypoints["sapiens308"]).items()}
        if not left:
            hands["left_hand"][:, 2] = 0.2
        given = sapiens(person, {**keypoints, **hands})
        tracker = fused(
            person,
            monkeypatch,
            unseen,
            osx=osx(person, hands=False),
            hamer=hamer(person),
            sapiens_pose=given,
        )
        found = tracker.start(person.portrait, unseen)
        cues = tracker.estimator("hamer").cues.keypoints
        assert ("left_hand" in cues) == left and torch.equal(
            cues["right_hand"], hands["right_hand"]
        )
        assert ("hamer" in found.parts["left_hand"].reason) == left
        assert found.parts["right_hand"].reason.startswith("hand seen 0.90")
        assert "hamer" in found.parts["right_hand"].reason
        fingers = list(range(25, 40))
        same = torch.allclose(found.body.pose[fingers], person.params.pose[fingers], atol=1e-4)
        assert same or not left
    tracker = fused(person, monkeypatch, unseen, osx=osx(person, hands=False), hamer=hamer(person))
    found = tracker.start(person.portrait, unseen)
    assert "hamer" not in tracker._built and not found.parts["left_hand"].valid


def test_without_its_file_nothing_changes_to_the_last_bit(person, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", "/nowhere")
    results = []
    for more in ({}, {"sapiens_pose": dict(type="SapiensPoseEstimator")}):
        configs = {"osx": dict(type=Known, estimate=osx(person)), **more}
        tracker = FusedTracker(body=person.body, estimators=configs)
        monkeypatch.setattr(tracker.open, "fit", lambda portrait, detection, **_: person.tracking())
        tracker.refiner = StartRefiner(person.body, person.landmarks, QUICK)
        results.append(tracker.fit(person.portrait, person.detection))
    alone, absent = results
    for name in ("pose", "betas", "expression", "translation"):
        assert torch.equal(getattr(alone.body, name), getattr(absent.body, name))
    assert torch.equal(alone.camera.cam_from_world, absent.camera.cam_from_world)
    assert alone.parts == absent.parts and alone.visibility == absent.visibility
    (whose,) = set(absent.notes) - set(alone.notes)
    assert whose == "keypoints: mediapipe's; not sapiens_pose (its file is missing)"


def test_a_failing_sapiens_leaves_mediapipes_keypoints(person, monkeypatch):
    given = dict(osx=osx(person), sapiens_pose=InputError("too dark"))
    tracker = fused(person, monkeypatch, person.detection, **given)
    found = tracker.start(person.portrait, person.detection)
    assert "keypoints: mediapipe's; not sapiens_pose (too dark)" in found.notes


@pytest.fixture(scope="module")
def open_tracker(person):
    return MediaPipeTracker(body=person.body, silhouette=0.0)


def test_the_fit_takes_them_and_corrects_only_mediapipes(person, open_tracker):
    """The map for clothes moves MediaPipe's landmarks; Sapiens' stay where it saw them."""
    truth = raised(person)
    keypoints = seen_by_sapiens(person, truth)
    points = keypoints["sapiens308"]
    points[8, 2] = 0.3  # MediaPipe's right elbow stays
    found = open_tracker.fit(
        person.portrait, person.detection, sapiens=SapiensPoints.of(keypoints, torch.ones(2))
    )
    pose, given = found.keypoints["pose"], person.detection.keypoints["pose"]
    assert torch.equal(pose[[POSE["left_elbow"], POSE["left_shoulder"]], :2], points[[7, 5], :2])
    moved = (pose - given)[POSE["right_elbow"], :2].norm()
    assert 0.2 < moved < 40  # px: the map for clothes
    aim, _ = person.camera.project(person.body(truth).joints)
    shown = (places(person, found) - aim)[[JOINT["left_elbow"], JOINT["left_shoulder"]]]
    alone = open_tracker.fit(person.portrait, person.detection)
    before = (places(person, alone) - aim)[[JOINT["left_elbow"], JOINT["left_shoulder"]]]
    assert shown.norm(dim=-1).max() < 6 and before.norm(dim=-1).max() > 15


def test_side_views_take_ears_shoulders_and_hips_from_sapiens(person, monkeypatch):
    """MediaPipe finds nobody in profile: Sapiens' points turn the head that the mask does not."""
    front = person.tracking()
    turn = front.body.pose.clone()
    turn[0] = torch.tensor([0.0, math.pi / 2, 0.0])
    nodding = turn.clone()
    nodding[JOINT["neck"], 0] += 0.3
    truth = front.body.replace(pose=nodding)
    keypoints = seen_by_sapiens(person, truth, hands=False)
    alpha = torch.zeros(1, *SIZE)
    alpha[:, 20:, 60:440] = 1.0
    portrait = Portrait(torch.rand(3, *SIZE), alpha)

    def nobody(pixels):
        raise InputError("nobody was found in the picture")

    gaps, notes = [], []
    for estimators in ({}, {"sapiens_pose": dict(type=Known, estimate=sapiens(person, keypoints))}):
        tracker = FusedTracker(body=person.body, estimators=estimators)
        monkeypatch.setattr(tracker.open, "detector", nobody)
        found = track_turned(tracker, portrait, front, "right")
        aim, _ = person.camera.project(
            person.landmarks.points(person.body, "pose", person.body(truth))
        )
        at, _ = found.camera.project(
            person.landmarks.points(person.body, "pose", person.body(found.body))
        )
        gaps.append((at - aim)[[POSE["nose"], POSE["left_ear"]]].norm(dim=-1).mean())
        notes.append(found.notes)
    assert gaps[1] < 0.4 * gaps[0] and gaps[0] > 10
    assert len(notes[0]) == 1 and "keypoints: sapiens_pose's for" in notes[1][1]
    assert found.visibility["head"] > 0.5 and "pose" in found.keypoints


def test_sapiens_alone_moves_the_open_fit(person, open_tracker, monkeypatch):
    """No other file: the fit to the joined landmarks is the result, and the notes say so."""
    truth = raised(person)
    given = sapiens(person, seen_by_sapiens(person, truth))
    configs = {"sapiens_pose": dict(type=Known, estimate=given)}
    tracker = FusedTracker(body=person.body, silhouette=0.0, estimators=configs)
    found = tracker.fit(person.portrait, person.detection)
    alone = open_tracker.fit(person.portrait, person.detection)
    assert found.parts["upper"].source == "mediapipe"
    assert any(note.startswith("keypoints: sapiens_pose's for") for note in found.notes)
    aim, _ = person.camera.project(person.body(truth).joints)
    gaps = [(places(person, t) - aim)[JOINT["left_elbow"]].norm() for t in (found, alone)]
    assert gaps[0] < 0.3 * gaps[1]


def test_keyframes_say_whose_keypoints_they_had(person):
    notes = ("keypoints: sapiens_pose's for 3 of the body's 33 landmarks", "keypoints: mediapipe's")
    parts = {"upper": FINE}
    reasons = [reasons_of(person.tracking().replace(parts=parts, notes=(n,))) for n in notes]
    assert [r[-1][:2] for r in reasons] == [
        ("keypoints", "sapiens_pose"),
        ("keypoints", "mediapipe"),
    ]


def test_fit_and_stages_aim_at_the_middle_of_joints(open_tracker, monkeypatch):
    """MediaPipe's ankles lie 3 cm, 8 px here, above the joints that Sapiens names."""
    person = Farther("pelvis", 6.8)
    keypoints = seen_by_sapiens(person)
    ankles = [JOINT["left_ankle"], JOINT["right_ankle"]]
    aim = places(person, person.tracking())
    mediapipes = person.detection.keypoints["pose"][[POSE["left_ankle"], POSE["right_ankle"]], :2]
    assert (mediapipes - aim[ankles]).norm(dim=-1).min() > 7
    points = SapiensPoints.of(keypoints, torch.ones(2))
    fitted = open_tracker.fit(person.portrait, person.detection, sapiens=points)
    given = dict(multi_hmr=osx(person), sapiens_pose=sapiens(person, keypoints))
    tracker = fused(person, monkeypatch, person.detection, **given)
    refined = tracker(person.portrait)
    assert refined.parts["lower"].source == "made"
    for found in (fitted, refined):
        # With MediaPipe's map they would end 3.5 px too low.
        assert (places(person, found) - aim)[ankles, 1].abs().max() < 1.2
