from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.errors import AssetError
from presence.rasterize import build_rasterizer
from presence.tracking.detection import POSE, SET_SIZES
from presence.tracking.face_regions import IRISES, LEFT_EYE, RIGHT_EYE
from presence.tracking.landmark_building import dressed
from presence.tracking.landmark_casting import FaceCaster
from presence.tracking.landmark_clothed import clothed_people
from presence.tracking.landmark_offsets import fit_offsets, hand_anchors
from presence.tracking.landmark_renders import PersonRenderer
from presence.tracking.landmarks import LandmarkMap, LandmarkSet
from presence.tracking.nearest import closest_on_triangles, geometric_median
from presence.tracking.relaxed import JOINT
from presence.tracking.rig import FitRig, FitState


def test_rig_points_lie_where_the_mesh_points_do(body, landmarks, seen):
    params = seen.params(7)
    mesh = body(params)
    for name, size in SET_SIZES.items():
        rig = FitRig(body, landmarks.anchors(body, name)).evaluate(FitState.from_params(params))
        expected = landmarks.points(body, name, mesh)
        assert expected.shape == (size, 3)
        # Skinning blended corners is not quite blending skinned corners; the frame joint of an
        # offset is stood for by one vertex.
        assert (rig.points - expected).norm(dim=-1).max() < 0.004
        assert (rig.points - expected).norm(dim=-1).median() < 0.0003


def test_bundled_map_is_anatomical(body, landmarks):
    mesh = body(body.default_params())
    face = landmarks.points(body, "face", mesh)
    joints = mesh.joints
    assert (face[473] - joints[JOINT["left_eye"]]).norm() < 0.02
    assert (face[468] - joints[JOINT["right_eye"]]).norm() < 0.02
    assert face[1, 2] > face[:468, 2].max() - 0.004  # the tip of the nose is foremost
    assert face[13, 1] > face[14, 1] > face[152, 1]  # upper lip, lower lip, chin
    for eye, side in ((LEFT_EYE, 1.0), (RIGHT_EYE, -1.0)):
        assert (face[list(eye), 0] * side > 0.01).all()
    mirrored = face[[263, 291, 362]] * torch.tensor([-1.0, 1.0, 1.0])
    assert (mirrored - face[[33, 61, 133]]).norm(dim=-1).max() < 0.002
    hand = landmarks.points(body, "left_hand", mesh)
    assert hand[12, 0] > hand[9, 0] > hand[0, 0]  # the middle finger reaches outwards
    pose = landmarks.points(body, "pose", mesh)
    assert (pose[13] - joints[JOINT["left_elbow"]]).norm() < 0.05
    assert pose[29, 2] < pose[27, 2] < pose[31, 2]  # heel, ankle, toes


def test_bundled_map_is_as_tight_as_the_documentation_says(landmarks):
    ordinary = [i for i in range(478) if i not in IRISES]
    assert landmarks.sets["face"].spread[ordinary].median() < 0.0035
    assert landmarks.sets["left_hand"].spread.median() < 0.006
    assert landmarks.sets["pose"].spread.median() < 0.025


def test_map_survives_its_file(landmarks, tmp_path):
    landmarks.save(tmp_path / "map.npz")
    again = LandmarkMap.load(tmp_path / "map.npz")
    for name, marks in landmarks.sets.items():
        assert torch.equal(again.sets[name].face_ids, marks.face_ids)
        assert torch.equal(again.sets[name].offsets, marks.offsets)


def test_missing_and_foreign_maps_are_refused(tmp_path):
    with pytest.raises(AssetError, match="build_landmarks"):
        LandmarkMap.load("nobody")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(AssetError, match="no landmark map"):
        LandmarkMap.load(tmp_path / "other.npz")


def test_closest_points_agree_with_dense_sampling():
    random = np.random.default_rng(0)
    corners = random.normal(size=(20, 3, 3))
    point = random.normal(size=3)
    grid = np.linspace(0, 1, 201)
    u, v = (a.ravel() for a in np.meshgrid(grid, grid))
    inside = u + v <= 1
    bary = np.stack([1 - u - v, u, v], -1)[inside]
    dense = np.linalg.norm(np.einsum("pk,fkc->fpc", bary, corners) - point, axis=-1).min(1)
    weights, gaps = closest_on_triangles(point, corners)
    assert np.allclose(weights.sum(1), 1) and (weights >= -1e-9).all()
    assert (gaps <= dense + 1e-9).all() and np.allclose(gaps, dense, atol=0.02)


def test_geometric_median_ignores_far_points():
    points = np.concatenate([np.zeros((7, 3)), np.full((3, 3), 100.0)])
    assert np.linalg.norm(geometric_median(points)) < 1e-3


class Truth:
    """Projects a known landmark set: a detector that makes no mistakes."""

    def __init__(self, body, marks: LandmarkMap, name: str, people):
        self.answers = {id(p.image): self._project(body, marks, name, p) for p in people}
        self.flipped = {p.image[:, ::-1].tobytes(): id(p.image) for p in people}
        self.width = people[0].image.shape[1]

    def _project(self, body, marks, name, person):
        px, _ = person.camera.project(marks.points(body, name, person.mesh))
        return np.column_stack([px.numpy(), np.ones(len(px))]).astype(float)

    def __call__(self, image):
        return self.answers[id(image)]


def test_casting_recovers_known_face_points(body, landmarks):
    """Landmarks projected from known points are cast back to the same points."""
    renderer = PersonRenderer(body, build_rasterizer("cpu"), seed=3)
    people = [renderer.render("head") for _ in range(12)]
    truth = Truth(body, landmarks, "face", people)
    partner = np.arange(478)  # the mirrored picture's answer, in the mirrored picture's pixels
    default = body(body.default_params())
    known = landmarks.points(body, "face", default)
    flipped = known * torch.tensor([-1.0, 1.0, 1.0])
    partner = torch.cdist(flipped, known).argmin(1).numpy()

    def detect(image):
        if id(image) in truth.answers:
            return truth(image)[:, :2]
        answer = truth.answers[truth.flipped[image.tobytes()]][partner, :2]
        return answer * (-1, 1) + (truth.width, 0)

    caster = FaceCaster(body)
    marks = caster.condense(caster.collect(people, detect))
    corners = default.vertices[body.topology.faces[marks.face_ids]]
    found = (corners * marks.barycentrics[..., None]).sum(1)
    hit = marks.spread < 0.01
    assert hit.float().mean() > 0.85
    gaps = (found - known).norm(dim=-1)[hit]
    assert gaps.median() < 0.001
    assert gaps.quantile(0.9) < 0.003


def test_offsets_recover_a_known_shift(body):
    """A detector that puts every joint 12 mm off is found out, whatever the first guess."""
    renderer = PersonRenderer(body, build_rasterizer("cpu"), seed=4)
    people = [renderer.render("left_hand") for _ in range(12)]
    guess = hand_anchors(body, "left")
    shift = torch.tensor([0.004, -0.008, 0.008])
    true = LandmarkSet(
        *(getattr(guess, f) for f in ("face_ids", "barycentrics", "joints", "frames")),
        guess.offsets + shift,
        guess.spread,
    )
    sets = {"left_hand": true}
    truth = Truth(body, LandmarkMap(sets), "left_hand", people)
    found, seen = fit_offsets(body, guess, people, truth, prior=0.05)
    assert seen == len(people)
    gaps = (found.offsets - true.offsets).norm(dim=-1)
    assert gaps.max() < 0.003
    assert gaps.max() < 0.3 * float(shift.norm())


def test_clothes_move_the_landmarks_that_they_hide(body, landmarks):
    """A detector that takes the left shoulder 30 mm too high on clothed people is followed."""
    people = list(clothed_people(body, 12))
    assert people[0].image.shape == (640, 512, 3) and people[1].image.shape == (512, 512, 3)
    answers = {}
    for person in people:
        points = landmarks.points(body, "pose", person.mesh)
        points[POSE["left_shoulder"], 1] += 0.03
        points[POSE["right_shoulder"], 1] += 0.03
        px = person.camera.project(points)[0]
        answers[person.image.tobytes()] = torch.cat([px, torch.ones(33, 1)], -1).numpy()
    moved = dressed(body, landmarks, lambda image: answers[image.tobytes()], 12).sets["pose"]
    shift = moved.offsets - landmarks.sets["pose"].offsets
    for side in ("left", "right"):
        assert 0.015 < shift[POSE[f"{side}_shoulder"], 1] < 0.035
        assert shift[POSE[f"{side}_hip"]].norm() < 0.002
