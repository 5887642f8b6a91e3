"""The fused tracker: what it chooses, why, and that it changes nothing where there is no choice."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from presence.bodies import load_body
from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.registry import TRACKERS
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Cues,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
    Tracking,
)
from presence.testing.contracts import check_estimator, check_tracker
from presence.tracking.detection import SET_SIZES, Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fusing.chains import WRISTS, chained
from presence.tracking.fusing.start_refining import FAR, StartRefiner
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.relaxed import JOINT, relaxed_pose
from presence_plugins.trackers.fused_tracker import FusedTracker
from presence_plugins.trackers.mediapipe_estimator import MediaPipeEstimator

SIZE = (600, 500)  # rows, columns
FINE = PartEstimate(0.9, True, "made", "made")


class Person:
    """Half a body with known parameters, and what a perfect detector says of it."""

    def __init__(self) -> None:
        self.body = load_body("annyx")
        self.landmarks = LandmarkMap.load("annyx")
        pose = relaxed_pose()
        pose[0, 1] = 0.2
        pose[JOINT["left_elbow"], 1] = -1.3
        pose[JOINT["right_elbow"], 1] = 1.1
        pose[[20, 21]] = torch.tensor([0.2, 0.1, -0.3])
        self.params = self.body.default_params().replace(pose=pose)
        aim = self.body(self.params).joints[JOINT["spine3"]] + torch.tensor([0.0, 0.1, 0.0])
        eye = aim + torch.tensor([0.0, 0.0, 2.6])
        self.camera = Camera.look_at(eye, aim, math.radians(20), SIZE[1], SIZE[0])
        mesh = self.body(self.params)
        keypoints, world = {}, {}
        for name in SET_SIZES:
            points = self.landmarks.points(self.body, name, mesh)
            px, _ = self.camera.project(points)
            inside = ((px > 0) & (px < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
            sure = torch.full((len(px), 1), 0.9) if "hand" in name else inside[:, None] * 0.9
            keypoints[name] = torch.cat([px, sure], -1)
            world[name] = self.camera.to_cam(points)
        self.detection = Detection(SIZE[1], SIZE[0], keypoints, world)
        self.portrait = Portrait(torch.rand(3, *SIZE), torch.ones(1, *SIZE))

    def tracking(self) -> Tracking:
        seen = visible_parts(self.detection)
        return Tracking(self.params, self.camera, seen, dict(self.detection.keypoints))

    def in_camera(self) -> torch.Tensor:
        """The pose with its global orientation in the camera's axes."""
        pose = self.params.pose.clone()
        turn = self.camera.cam_from_world[:3, :3]
        pose[0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(pose[0]))
        return pose


@pytest.fixture(scope="module")
def person():
    return Person()


class Known(Estimator):
    """Says what it was told; counts how often it is asked."""

    name, asset = "known", ""
    parts = tuple(PART_JOINTS)

    def __init__(self, estimate: Estimate | Exception | None, device: str = "cpu") -> None:
        self.estimate, self.calls = estimate, 0

    def __call__(self, portrait, cues):
        self.calls += 1
        self.cues = cues
        if isinstance(self.estimate, Exception):
            raise self.estimate
        return () if self.estimate is None else (self.estimate,)


def fused_tracker(person, monkeypatch, **estimators):
    configs = {name: dict(type=Known, estimate=value) for name, value in estimators.items()}
    tracker = FusedTracker(body=person.body, estimators=configs)
    monkeypatch.setattr(
        tracker.open, "fit", lambda portrait, detection, betas=None: person.tracking()
    )
    return tracker


def osx(person, *, hands=True):
    """The right pose with wrong wrists, another model's shape, and OSX's narrow camera."""
    pose = person.in_camera()
    pose[[20, 21]] = torch.tensor([0.0, 0.9, 0.9])
    K = torch.tensor([[12000.0, 0, 270], [0, 12000, 330], [0, 0, 1]])
    params = BodyParams(torch.ones(10), torch.ones(10), pose, torch.tensor([0.0, 0.4, 30.0]))
    parts = dict.fromkeys(PART_JOINTS, FINE)
    if not hands:
        parts |= dict.fromkeys(WRISTS, PartEstimate(0.1, False, "osx", "outside"))
    return Estimate(
        params,
        Camera(K, torch.eye(4), SIZE[1], SIZE[0]),
        parts=parts,
        expression_space="smplx",
        estimator="osx",
    )


def hamer(person):
    pose = person.in_camera()
    models = {
        side: PartModel(
            chained(pose, wrist),
            torch.tensor([0.0, 0.0, 3.0]),
            person.camera.K,
            torch.zeros(10),
            torch.zeros(0),
            axis_angle_to_matrix(pose[list(PART_JOINTS[side])]),
        )
        for side, wrist in WRISTS.items()
    }
    only = torch.zeros(55, 3)
    only[25:] = pose[25:]
    body = BodyParams(torch.zeros(0), torch.zeros(0), only, torch.zeros(3))
    camera = Camera(person.camera.K, torch.eye(4), SIZE[1], SIZE[0])
    parts = dict.fromkeys(models, FINE)
    return Estimate(body, camera, parts=parts, models=models, estimator="hamer")


def test_a_half_body_is_fused_from_osx_and_hamer(person, monkeypatch):
    tracker = fused_tracker(person, monkeypatch, osx=osx(person), hamer=hamer(person))
    found = tracker.start(person.portrait, person.detection)
    truth = person.params
    turned = axis_angle_to_matrix(found.body.pose) - axis_angle_to_matrix(truth.pose)
    legs = list(PART_JOINTS["lower"])
    others = [j for j in range(55) if j not in legs]
    assert turned[others].abs().max() < 1e-4  # wrists too: HaMeR's, through OSX's arm
    torch.testing.assert_close(found.body.betas, truth.betas)  # not OSX's, which are SMPL-X's
    sources = {name: part.source for name, part in found.parts.items()}
    assert sources["upper"] == "made" and found.parts["left_hand"].reason.count("hamer")
    # Placed by its landmarks, in the canonical camera.
    assert float(found.camera.K[0, 0]) == pytest.approx(300 / math.tan(math.radians(10)), rel=1e-4)
    assert found.camera.K[:2, 2].tolist() == [250.0, 300.0]
    px, _ = found.camera.project(
        person.landmarks.points(person.body, "pose", person.body(found.body))
    )
    gaps = (px - person.detection.keypoints["pose"][:, :2]).norm(dim=-1)
    seen = person.detection.keypoints["pose"][:, 2] > 0.5
    assert gaps[seen].max() < 3.0
    notes = "\n".join(found.notes)
    assert "Eq. 18" in notes and "body: half body" in notes and "paper" in notes
    assert tracker.estimator("osx").cues.person.tolist() == [0, 0, SIZE[1], SIZE[0]]


def test_what_fails_is_passed_over_with_its_reason(person, monkeypatch):
    tracker = fused_tracker(person, monkeypatch, osx=InputError("no box"), hamer=None)
    found = tracker.start(person.portrait, person.detection)
    assert "not osx (no box)" in found.parts["upper"].reason
    assert found.parts["upper"].source == "mediapipe"
    assert "not hamer (it found nobody)" in found.parts["left_hand"].reason
    assert torch.equal(found.body.pose, person.params.pose)
    assert tracker.estimator("osx").calls == 1


def emica(person, turned):
    """A head turned as given, with a jaw and an expression of FLAME's."""
    pose = torch.zeros(55, 3)
    pose[22, 0] = 0.4
    flame = PartModel(
        turned,
        torch.tensor([0.0, 0.0, 3.0]),
        person.camera.K,
        torch.zeros(300),
        torch.ones(100),
        torch.eye(3).repeat(4, 1, 1),
        model="flame2020",
    )
    return Estimate(
        BodyParams(torch.zeros(0), torch.ones(100), pose, torch.zeros(3)),
        Camera(person.camera.K, torch.eye(4), SIZE[1], SIZE[0]),
        parts={"face": FINE},
        models={"face": flame},
        expression_space="flame2020",
        estimator="emica",
    )


def test_expressions_of_another_model_do_not_move_this_face(person, monkeypatch):
    head = chained(person.in_camera(), 15)
    turned = head @ axis_angle_to_matrix(torch.tensor([0.0, 0.3, 0.0]))
    tracker = fused_tracker(person, monkeypatch, emica=emica(person, turned))
    found = tracker.start(person.portrait, person.detection)
    root = axis_angle_to_matrix(torch.tensor([math.pi, 0, 0]))
    assert (root @ chained(found.body.pose, 15) - turned).abs().max() < 1e-4
    assert not found.body.expression.any() and not found.body.pose[22].any()
    assert "not emica (its expressions are flame2020's" in found.parts["face"].reason


def test_flame_tracking_starts_from_emica(person, monkeypatch):
    head = chained(person.in_camera(), 15)
    first = emica(person, head)
    second = first.replace(estimator="flame")
    tracker = fused_tracker(person, monkeypatch, emica=first, flame=second)
    found = tracker.start(person.portrait, person.detection)
    assert tracker.estimator("flame").cues.models["face"].shape.shape == (300,)
    assert "flame (stated" in found.parts["head"].reason
    assert tracker.estimator("emica").calls == 1


def test_a_refinement_gets_the_start(person, monkeypatch):
    tracker = fused_tracker(person, monkeypatch, osx=osx(person, hands=False))
    monkeypatch.setattr(tracker.open, "detect", lambda portrait: (None, person.detection))
    monkeypatch.setattr(tracker.open, "cut_out", lambda portrait, image, detection: portrait)
    seen = {}

    def refine(portrait, start, detection, models, *, betas):
        seen.update(start=start, detection=detection, models=models)
        return start.replace(notes=("refined",))

    tracker.refiner = refine
    assert tracker(person.portrait).notes == ("refined",)
    assert seen["start"].parts["upper"].source == "made" and seen["detection"] is person.detection


def test_the_stages_pull_a_start_onto_the_landmarks(person, monkeypatch):
    wrong = osx(person)
    pose = wrong.body.pose.clone()
    pose[JOINT["left_shoulder"]] += torch.tensor([0.2, 0.0, 0.15])
    pose[JOINT["right_elbow"], 1] += 0.3
    wrong = wrong.replace(body=wrong.body.replace(pose=pose))
    tracker = fused_tracker(person, monkeypatch, osx=wrong)
    start = tracker.start(person.portrait, person.detection)
    quick = dataclasses.replace(FAR, steps=0.6)
    refiner = StartRefiner(person.body, person.landmarks, quick)
    refined = refiner(person.portrait, start, person.detection)
    seen = person.detection.keypoints["pose"][:, 2] > 0.5

    def error(tracking):
        mesh = person.body(tracking.body)
        points = person.landmarks.points(person.body, "pose", mesh)
        px, depth = tracking.camera.project(points)
        assert (depth > 1).all()
        return (px - person.detection.keypoints["pose"][:, :2]).norm(dim=-1)[seen].mean()

    assert error(refined) < 0.5 * error(start)
    assert refined.parts == start.parts and not refined.body.translation.any()


def test_a_body_that_is_not_where_the_person_is_gives_way(person, monkeypatch):
    tracker = fused_tracker(person, monkeypatch, osx=osx(person))
    monkeypatch.setattr(tracker.open, "detect", lambda portrait: (None, person.detection))
    monkeypatch.setattr(tracker.open, "cut_out", lambda portrait, image, detection: portrait)
    shifted = torch.tensor([0.4, 0.0, 0.0])

    def refine(portrait, start, detection, models, *, betas):
        return start.replace(body=start.body.replace(translation=shifted))

    tracker.refiner = refine
    found = tracker(person.portrait)
    assert torch.equal(found.body.pose, person.params.pose)
    assert {part.source for part in found.parts.values()} == {"mediapipe"}
    assert "% of the person's height" in found.notes[-1]


def test_another_map_chooses_otherwise(person, monkeypatch, tmp_path):
    plain = FusedTracker(body=person.body, estimators={}).regimes.to_plain()
    plain["order"]["half"]["body"] = [dict(estimator="osx", basis="stated", why="mine")]
    plain["seen"]["arms"] = 1.0  # nothing is surely an arm: every picture is a head
    path = tmp_path / "map.json"
    path.write_text(json.dumps(plain))
    configs = {"osx": dict(type=Known, estimate=osx(person))}
    tracker = FusedTracker(body=person.body, estimators=configs, regimes=str(path))
    monkeypatch.setattr(
        tracker.open, "fit", lambda portrait, detection, betas=None: person.tracking()
    )
    found = tracker.start(person.portrait, person.detection)
    assert found.parts["upper"].reason.startswith("head (elbows 0.90 of 1.00")
    assert "osx" not in tracker._built  # never asked


@pytest.fixture(scope="module")
def astronaut():
    pytest.importorskip("mediapipe", reason="the detector needs the mediapipe package")
    image = pytest.importorskip("skimage.data").astronaut()
    rgb = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return Portrait(rgb, torch.ones(1, *rgb.shape[1:]))


def test_without_files_it_is_the_open_tracker_and_says_why(astronaut, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", "/nowhere")
    tracker = TRACKERS.build(dict(type="FusedTracker"))
    portrait, found = tracker.track(astronaut)
    alone = tracker.open.fit(portrait, tracker.open.detect(astronaut)[1])
    for name in ("pose", "betas", "expression", "translation"):
        assert torch.equal(getattr(found.body, name), getattr(alone.body, name))
    assert torch.equal(found.camera.cam_from_world, alone.camera.cam_from_world)
    reason = found.parts["upper"].reason
    assert "not osx (its file is missing)" in reason and "mediapipe (" in reason
    assert set(found.parts) == set(PART_JOINTS)
    assert set(alone.notes) < set(found.notes)
    estimate = MediaPipeEstimator(tracker=tracker.open).estimate(alone)
    px = estimate.camera.project(tracker.body(estimate.body).vertices)[0]
    same = alone.camera.project(tracker.body(alone.body).vertices)[0]
    assert (px - same).abs().max() < 0.05
    assert estimate.parts["upper"].valid and not estimate.parts["lower"].valid


def test_the_contracts(person, monkeypatch):
    tracker = fused_tracker(person, monkeypatch, osx=osx(person))
    estimator = MediaPipeEstimator(tracker=tracker.open)

    def detect(portrait):
        if not portrait.alpha.any():
            raise InputError("nobody")
        return None, person.detection

    monkeypatch.setattr(tracker.open, "detect", detect)
    monkeypatch.setattr(tracker.open, "cut_out", lambda portrait, image, detection: portrait)
    tracker.refine = False  # other tests look at that
    check_tracker(tracker, person.body, person.portrait)
    check_estimator(estimator, person.portrait, Cues())
