"""FLAME tracking: a toy head in FLAME's layout, its landmarks projected, and found again."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from presence.bodies.flame import load_flame, load_marks
from presence.errors import AssetError
from presence.estimation.fov import with_fov
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.registry import ESTIMATORS
from presence.structures import Cues, PartModel, Portrait
from presence.testing.contracts import check_estimator
from presence.testing.toy_bodies import toy_flame_arrays
from presence_plugins.trackers.flame import INNER, crop_box, model_of, started

SIZE = (300, 400)  # rows, columns
UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The toy head and an embedding of 51 landmarks on its front."""
    folder = tmp_path_factory.mktemp("flame")
    arrays = toy_flame_arrays()
    np.savez(folder / "flame.npz", **arrays)
    corners = arrays["v_template"][arrays["f"]].mean(1)
    skin = arrays["weights"][arrays["f"]][:, :, 3:].max((1, 2)) == 0  # no eyeballs
    front = np.flatnonzero((corners[:, 2] > 0.045) & (abs(corners[:, 1]) < 0.07) & skin)
    chosen = np.random.default_rng(0).choice(front, len(INNER), replace=False)
    weights = np.random.default_rng(1).dirichlet(np.ones(3), len(INNER))
    embedding = {"lmk_face_idx": chosen, "lmk_b_coords": weights}
    (folder / "marks.pkl").write_bytes(pickle.dumps(embedding))
    return folder


@pytest.fixture(scope="module")
def estimator(files):
    return ESTIMATORS.build(
        dict(
            type="FlameEstimator",
            weights=str(files / "flame.npz"),
            embedding=str(files / "marks.pkl"),
            steps=120,
        )
    )


class Head:
    """A head with known parameters before a known camera."""

    def __init__(self, estimator, seed=0, yaw=0.4):
        generator = torch.Generator().manual_seed(seed)
        self.flame = estimator.flame
        self.shape, self.expression = torch.zeros(300), torch.zeros(100)
        self.shape[:5] = torch.randn(5, generator=generator)
        self.expression[:5] = torch.randn(5, generator=generator)
        self.jaw = torch.tensor([0.15, 0.0, 0.0])
        self.eyes = torch.tensor([[0.05, 0.12, 0.0], [0.05, 0.12, 0.0]])
        self.rotation = UPRIGHT @ axis_angle_to_matrix(torch.tensor([0.15, yaw, -0.1]))
        self.translation = torch.tensor([0.03, -0.05, 1.4])
        focal = 1300.0
        self.K = torch.tensor([[focal, 0, 200.0], [0, focal, 150.0], [0, 0, 1]])
        joints = axis_angle_to_matrix(torch.cat([torch.zeros(2, 3), self.jaw[None], self.eyes]))
        self.vertices = self.flame(self.shape, self.expression, joints)
        self.joints = joints[1:]

    def seen(self, vertices):
        placed = vertices @ self.rotation.T + self.translation
        px = placed @ self.K.T
        return px[:, :2] / px[:, 2:]

    def face(self, marks):
        """MediaPipe's 478 landmarks, right where the toy has any."""
        face = torch.full((478, 3), 0.9)
        px = self.seen(marks.points(self.vertices))
        face[:, :2] = px.mean(0)
        face[marks.detected, :2] = px
        left, right = self.flame.pupils()
        face[[473, 468], :2] = self.seen(self.vertices[[left, right]])
        return face

    def model(self):
        """What EMICA would say of the head's form."""
        return PartModel(
            self.rotation,
            self.translation,
            self.K,
            self.shape,
            self.expression,
            self.joints,
            model="flame2020",
        )


def blank():
    return Portrait(torch.rand(3, *SIZE), torch.ones(1, *SIZE))


def angle(a, b):
    return math.degrees(float(matrix_to_axis_angle(a.T @ b).norm()))


@pytest.mark.parametrize("yaw", [0.0, -0.8])
def test_a_head_whose_form_is_known_is_placed_and_its_gaze_found(estimator, yaw):
    head = Head(estimator, yaw=yaw)
    face = head.face(estimator.marks)
    (found,) = estimator(blank(), Cues(keypoints={"face": face}, models={"face": head.model()}))
    part = found.parts["face"]
    assert part.valid and part.confidence == pytest.approx(0.9)
    model = found.models["face"]
    # Another camera (9.5 degrees about the face) can only nearly show the same head.
    assert angle(model.rotation, head.rotation) < 3.0
    root = estimator.flame.joint_regressor[0] @ estimator.flame.rest(head.shape, head.expression)
    placed = model.place(head.vertices, root)
    px = placed @ model.K.T
    px = px[:, :2] / px[:, 2:]
    seen = estimator.marks.points(head.vertices)
    distance = (estimator.marks.points(px) - head.seen(seen)).norm(dim=-1)
    box = head.seen(seen).amax(0) - head.seen(seen).amin(0)
    assert distance.mean() < 0.02 * box.max()
    torch.testing.assert_close(found.body.pose[22], head.jaw, rtol=0, atol=1e-5)
    gaze = found.body.pose[23:25]
    assert (gaze - head.eyes).abs().max() < 0.12


def test_before_the_crops_own_camera_the_head_is_found_exactly(estimator):
    head = Head(estimator, yaw=0.5)
    head.eyes = torch.zeros(2, 3)
    for _ in range(12):  # until the crop's camera is the picture's: centred, f = 6 sides
        low, high = crop_box(head.face(estimator.marks)[:, :2]).split(2)
        away, side = (low + high) / 2 - head.K[:2, 2], float((high - low)[0])
        head.translation[:2] -= away * head.translation[2] / head.K[0, 0]
        head.translation[2] *= side / (float(head.K[0, 0]) / 6)
    cues = Cues(keypoints={"face": head.face(estimator.marks)}, models={"face": head.model()})
    (found,) = estimator(blank(), cues)
    model = found.models["face"]
    torch.testing.assert_close(model.K, head.K, rtol=1e-3, atol=0.1)
    assert angle(model.rotation, head.rotation) < 0.5
    torch.testing.assert_close(model.translation, head.translation, rtol=0, atol=5e-3)


def test_without_a_network_shape_expression_and_jaw_are_fitted_too(estimator):
    head = Head(estimator, seed=3, yaw=0.2)
    face = head.face(estimator.marks)
    (fitted,) = estimator(blank(), Cues(keypoints={"face": face}))
    rest = started(head.model())
    still = torch.eye(3).repeat(4, 1, 1)
    mean_face = head.model().replace(
        shape=torch.zeros(300), expression=torch.zeros(100), joints=still
    )
    (stiff,) = estimator(blank(), Cues(keypoints={"face": face}, models={"face": mean_face}))

    def error(estimate):
        return float(estimate.parts["face"].reason.split(", ")[1].split(" of ")[0])

    assert error(fitted) < 0.5 * error(stiff)
    assert fitted.body.expression.shape == (100,) and fitted.body.expression.any()
    assert float(rest.jaw[0]) == pytest.approx(0.15, abs=1e-5)


def test_the_contract_of_estimators_and_the_way_to_another_field_of_view(estimator):
    head = Head(estimator)
    face = head.face(estimator.marks)
    check_estimator(estimator, blank(), Cues(keypoints={"face": face}))
    (found,) = estimator(blank(), Cues(keypoints={"face": face}))
    wide = with_fov(found, 40.0).models["face"]
    model = found.models["face"]
    for each in (model, wide):  # the origin of the head stays where it is seen
        px = each.K @ each.translation
        torch.testing.assert_close(
            px[:2] / px[2], (model.K @ model.translation)[:2] / model.translation[2]
        )
    outside = face + torch.tensor([500.0, 0, 0])
    (lost,) = estimator(blank(), Cues(keypoints={"face": outside}))
    assert not lost.parts["face"].valid


def test_landmarks_that_fit_no_head_are_not_believed(estimator):
    face = torch.rand(478, 3, generator=torch.Generator().manual_seed(0))
    face[:, :2] = face[:, :2] * 200 + 50
    (found,) = estimator(blank(), Cues(keypoints={"face": face}))
    assert not found.parts["face"].valid


def test_posing_is_what_the_toy_is_made_for(files):
    flame = load_flame(files / "flame.npz")
    joints = torch.eye(3).repeat(5, 1, 1)
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.3, 0.0]))
    joints[3] = turn
    rest = flame.v_template
    posed = flame(torch.zeros(2), torch.zeros(3), joints)
    left = (flame.weights[:, 3] > 0.99).nonzero()[:, 0]
    centre = torch.tensor([0.03, 0.02, 0.075])
    torch.testing.assert_close(posed[left], (rest[left] - centre) @ turn.T + centre)
    others = (flame.weights[:, 3] < 0.01).nonzero()[:, 0]
    torch.testing.assert_close(posed[others], rest[others], rtol=0, atol=1e-6)
    left_pupil, right_pupil = flame.pupils()
    assert rest[left_pupil, 0] == pytest.approx(0.03) and rest[right_pupil, 0] == pytest.approx(
        -0.03
    )


def test_files_that_are_no_flame_are_one_line(files, tmp_path):
    arrays = toy_flame_arrays(8, 12)
    np.savez(tmp_path / "no.npz", **{k: v for k, v in arrays.items() if k != "posedirs"})
    with pytest.raises(AssetError, match="no `posedirs`"):
        load_flame(tmp_path / "no.npz")
    np.savez(tmp_path / "short.npz", **{**arrays, "shapedirs": arrays["shapedirs"][..., :100]})
    with pytest.raises(AssetError, match="100 directions"):
        load_flame(tmp_path / "short.npz")
    flame = load_flame(files / "flame.npz")
    np.savez(tmp_path / "marks.npz", lmk_face_idx=np.arange(4), lmk_b_coords=np.ones((4, 3)) / 3)
    with pytest.raises(AssetError, match="4 places for 51"):
        load_marks(tmp_path / "marks.npz", flame, INNER)
    named = dict(landmark_indices=np.array([1, 2, 3, 400]))
    np.savez(
        tmp_path / "own.npz",
        lmk_face_idx=np.arange(4),
        lmk_b_coords=np.ones((4, 3)) / 3,
        **named,
    )
    assert load_marks(tmp_path / "own.npz", flame, INNER).detected.tolist() == [1, 2, 3, 400]


def test_the_model_stands_in_the_whole_pictures_camera(estimator):
    head = Head(estimator)
    state = started(head.model())
    box = torch.tensor([100.0, 50, 228, 178])
    model = model_of(state, box)
    crop = torch.tensor([[4.0, 0, -400], [0, 4, -200], [0, 0, 1]])  # 128 px become 512
    torch.testing.assert_close(
        crop @ model.K, torch.tensor([[3072.0, 0, 256], [0, 3072, 256], [0, 0, 1]])
    )
