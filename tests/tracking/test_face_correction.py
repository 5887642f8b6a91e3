from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from presence.errors import AssetError, InputError
from presence.tracking.correction_fitting import SeenPerson
from presence.tracking.detection import Detection
from presence.tracking.face_correction import FaceCorrection
from presence.tracking.face_fitting import face_errors, fit_faces, mirror_partners
from presence.tracking.face_regions import (
    INNER_LIPS,
    IRISES,
    LEFT_EYE,
    OUTER_LIPS,
    OUTLINE,
    RIGHT_EYE,
)


@pytest.fixture(scope="module")
def correction():
    return FaceCorrection.load("annyx")


@pytest.fixture
def face(seen, body):
    """Makes the face [478 3] of somebody who looks aside, seen as it is."""

    def make(seed=0, yaw=0.4):
        params = seen.params(seed, yaw)
        return seen.detect(params, seen.camera(params, "half"), ("face",)).keypoints["face"]

    return make


def detected(points):
    return Detection(512, 640, {"face": points})


def moved(correction, points):
    return (correction(detected(points)).keypoints["face"] - points)[:, :2]


def test_the_correction_turns_grows_and_goes_along_with_the_face(correction, face):
    """What is known of a face does not depend on where in the picture it is, nor how large."""
    points = face()
    turn = torch.tensor(0.7)
    similar = 2.5 * torch.stack(
        [torch.stack([turn.cos(), -turn.sin()]), torch.stack([turn.sin(), turn.cos()])]
    )
    other = points.clone()
    other[:, :2] = points[:, :2] @ similar.T + torch.tensor([40.0, -300.0])
    gap = moved(correction, points)
    assert gap.norm(dim=-1).max() > 0.5  # px: there is something to be turned
    assert torch.allclose(moved(correction, other), gap @ similar.T, atol=0.02)
    assert torch.equal(correction(detected(points)).keypoints["face"][:, 2], points[:, 2])


def test_the_mirrored_face_is_moved_as_the_mirror_shows_it(correction, face, body, landmarks):
    points = face()
    partner = mirror_partners(body, landmarks)
    assert torch.equal(correction.partner, partner)
    mirror = points[partner].clone()
    mirror[:, 0] = 512 - mirror[:, 0]
    expected = moved(correction, points)[partner] * torch.tensor([-1.0, 1.0])
    assert torch.allclose(moved(correction, mirror), expected, atol=0.02)


def test_what_the_mesh_reads_off_the_picture_stays(correction, face):
    gap = moved(correction, face()).norm(dim=-1)
    assert gap[[*OUTER_LIPS, *INNER_LIPS, *RIGHT_EYE, *LEFT_EYE, *IRISES]].max() < 1e-3
    assert gap[list(OUTLINE)].mean() > 0.5


def test_no_landmark_is_moved_far(correction, face):
    points = face()
    wild = dataclasses.replace(correction, shift=torch.full_like(correction.shift, 500.0))
    size = (points[:, :2] - points[:, :2].mean(0)).square().sum(-1).mean().sqrt()
    assert moved(wild, points).norm(dim=-1).max() == pytest.approx(0.15 * float(size), rel=1e-3)


def test_nothing_is_corrected_where_there_is_no_face(correction):
    detection = Detection(512, 640, {"pose": torch.ones(33, 3)})
    assert correction(detection) is detection


def test_meshes_that_are_too_frontal_are_turned_back(seen, body, landmarks):
    """Every mesh is shown flattened across by what its turn should have hidden."""

    def shown(seed, yaw):
        params = seen.params(seed, yaw)
        camera = seen.camera(params, "half")
        points = seen.detect(params, camera, ("face",)).keypoints["face"].clone()
        middle = points[:, 0].mean()
        points[:, 0] = middle + (points[:, 0] - middle) * (1 + 0.3 * abs(yaw))
        alpha = np.ones((camera.height, camera.width), np.float32)
        detection = Detection(camera.width, camera.height, {"face": points})
        return SeenPerson(detection, alpha, body(params), camera)

    yaws = np.random.default_rng(0).uniform(-0.8, 0.8, 60)
    fitted = fit_faces(body, landmarks, [shown(i, float(yaw)) for i, yaw in enumerate(yaws)])
    others = [shown(100, 0.7), shown(101, -0.6), shown(102, 0.0)]
    errors = face_errors(fitted, body, landmarks, others)
    assert (errors[:2, 0] > 2).all() and (errors[:2, 1] < 0.5 * errors[:2, 0]).all()
    assert errors[2, 0] < 1e-3 and errors[2, 1] < 1.5  # nothing was wrong there


def test_a_handful_of_faces_is_too_few(body, landmarks):
    with pytest.raises(InputError, match="at least 8 people, not 0"):
        fit_faces(body, landmarks, [])


def test_the_bundled_correction_is_whole(correction, tmp_path):
    for field in dataclasses.fields(correction):
        assert torch.isfinite(getattr(correction, field.name).float()).all(), field.name
    flat = correction.components.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(len(flat)), atol=5e-3)
    correction.save(tmp_path / "again.npz")
    again = FaceCorrection.load(tmp_path / "again.npz")
    assert torch.equal(again.shift, correction.shift)
    assert torch.equal(again.partner, correction.partner)
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(AssetError, match="no face correction"):
        FaceCorrection.load(tmp_path / "other.npz")
