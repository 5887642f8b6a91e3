from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from presence.errors import AssetError
from presence.tracking.correction_fitting import SeenPerson, fit_correction, mean_errors
from presence.tracking.detection import POSE, SET_SIZES
from presence.tracking.evidence import detected_sigmas, keypoint_weights
from presence.tracking.landmark_correction import CORRECTED, LandmarkCorrection, partners
from presence.tracking.measuring.scores import mesh_mask
from presence.tracking.person_frame import PARTNER, PersonFrame, describe
from presence.tracking.silhouette import SilhouetteTarget

SIDE = 256
LEFT, RIGHT = POSE["left_elbow"], POSE["right_elbow"]


@pytest.fixture
def person(seen, body):
    """Makes a known person with exact landmarks and the bare body's mask."""

    def make(seed=0, yaw=0.3):
        params = seen.params(seed, yaw)
        camera = seen.camera(params, "half", SIDE)
        detection, mesh = seen.detect(params, camera), body(params)
        alpha = mesh_mask(mesh.vertices, camera, body.topology).float().numpy()
        return SeenPerson(detection, alpha, mesh, camera)

    return make


def constant(shift=(0.0, 0.0), deviation=0.02):
    """Tells everybody the same: how the left elbow moves, mm; the right one moves mirrored."""
    count, features = len(CORRECTED), 524
    table = torch.zeros(features + 1, count, 2)
    table[-1, CORRECTED.index(LEFT)] = torch.tensor(shift)
    table[-1, CORRECTED.index(RIGHT)] = torch.tensor(shift) * torch.tensor([-1.0, 1.0])
    logs = torch.zeros(features + 1, count)
    logs[-1] = np.log(deviation)
    return LandmarkCorrection(
        torch.zeros(features),
        torch.ones(features),
        table,
        torch.zeros(features + 1, count, 3),
        logs,
    )


def resized(detection, factor):
    scale = torch.tensor([factor, factor, 1.0])
    points = {name: values * scale for name, values in detection.keypoints.items()}
    size = round(detection.width * factor)
    return dataclasses.replace(detection, width=size, height=size, keypoints=points)


def mirrored(detection):
    """The detection of the mirrored picture."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    points = detection.keypoints["pose"][PARTNER] * flip
    points[:, 0] += detection.width
    world = detection.world["pose"][PARTNER] * flip
    return dataclasses.replace(detection, keypoints={"pose": points}, world={"pose": world})


def test_a_description_does_not_depend_on_the_pictures_size(person):
    seen = person()
    alpha = np.kron(seen.alpha, np.ones((2, 2), np.float32))
    small = describe(seen.detection, SilhouetteTarget(seen.alpha))
    large = describe(resized(seen.detection, 2.0), SilhouetteTarget(alpha))
    assert small.shape == (2, 524)
    assert torch.allclose(small, large, atol=0.01, equal_nan=True)


def test_the_second_row_describes_the_mirrored_person(person):
    seen = person()
    detection = dataclasses.replace(
        seen.detection, keypoints={"pose": seen.detection.keypoints["pose"]}
    )
    rows = describe(detection, SilhouetteTarget(seen.alpha))
    turned = describe(mirrored(detection), SilhouetteTarget(seen.alpha[:, ::-1].copy()))
    gap = (rows[1] - turned[0]).abs().nan_to_num(0.0)
    assert gap[:-200].max() < 1e-4
    assert gap[-200:].mean() < 2e-3  # the mask's distances are those of pixels, up to half of one


def test_landmarks_are_moved_in_metres_and_alike_on_both_sides(person):
    detection = person().detection
    mask = SilhouetteTarget(person().alpha)
    moved = constant(shift=(10.0, -20.0), deviation=0.03)(detection, mask)
    gap = moved.keypoints["pose"] - detection.keypoints["pose"]
    scale = PersonFrame.of(detection).px_per_metre
    assert torch.allclose(gap[LEFT, :2], torch.tensor([0.01, -0.02]) * scale, atol=1e-3)
    assert torch.allclose(gap[RIGHT, :2], torch.tensor([-0.01, -0.02]) * scale, atol=1e-3)
    others = [index for index in range(33) if index not in (LEFT, RIGHT)]
    assert gap[others].abs().max() < 1e-4
    assert torch.equal(moved.keypoints["face"], detection.keypoints["face"])
    sigma = detected_sigmas(moved, "pose", torch.zeros(SET_SIZES["pose"]))
    usual = detected_sigmas(detection, "pose", torch.zeros(SET_SIZES["pose"]))
    assert torch.allclose(sigma[CORRECTED], torch.full((len(CORRECTED),), 0.03))
    assert sigma[POSE["nose"]] == usual[POSE["nose"]]


def test_no_landmark_is_moved_far(person):
    seen = person()
    moved = constant(shift=(500.0, 0.0))(seen.detection, SilhouetteTarget(seen.alpha))
    gap = (moved.keypoints["pose"] - seen.detection.keypoints["pose"])[LEFT, :2].norm()
    assert gap == pytest.approx(0.08 * PersonFrame.of(seen.detection).px_per_metre, rel=1e-3)


def test_ears_and_knuckles_count_once_they_are_corrected(person):
    seen = person()
    sets = {name: seen.detection.keypoints[name] for name in ("pose", "face")}
    detection = dataclasses.replace(seen.detection, keypoints=sets)
    corrected = constant()(detection, SilhouetteTarget(seen.alpha))
    before, after = keypoint_weights(detection)["pose"], keypoint_weights(corrected)["pose"]
    ears, knuckles = [POSE["left_ear"], POSE["right_ear"]], [POSE["left_index"]]
    assert (before[ears] == 0).all() and (after[ears] == 1).all()
    assert after[knuckles] == pytest.approx(2 * before[knuckles])


def test_a_bias_of_the_detector_is_found_and_taken_away(body, landmarks, person):
    """Elbows are shown 3 cm too low and outwards, as a sleeve would have it."""

    def shown(seed, yaw):
        seen = person(seed, yaw)
        scale = PersonFrame.of(seen.detection).px_per_metre
        points = seen.detection.keypoints["pose"].clone()
        points[LEFT, :2] += torch.tensor([0.02, 0.03]) * scale
        points[RIGHT, :2] += torch.tensor([-0.02, 0.03]) * scale
        sets = {**seen.detection.keypoints, "pose": points}
        detection = dataclasses.replace(seen.detection, keypoints=sets)
        return dataclasses.replace(seen, detection=detection)

    yaws = np.random.default_rng(0).uniform(-0.6, 0.6, 45)
    correction = fit_correction(
        body, landmarks, [shown(seed, float(yaw)) for seed, yaw in enumerate(yaws)]
    )
    errors = mean_errors(correction, body, landmarks, [shown(100, 0.2), shown(101, -0.4)])
    elbows = [CORRECTED.index(LEFT), CORRECTED.index(RIGHT)]
    assert errors[0, elbows].nanmean() > 25
    assert errors[1, elbows].nanmean() < 8
    shoulder = CORRECTED.index(POSE["left_shoulder"])
    assert errors[1, shoulder] < 4  # nothing was wrong there


def test_the_bundled_correction_is_whole(tmp_path):
    correction = LandmarkCorrection.load("annyx")
    assert correction.shift.shape == (correction.mean.shape[0] + 1, len(CORRECTED), 2)
    for field in dataclasses.fields(correction):
        assert torch.isfinite(getattr(correction, field.name)).all(), field.name
    assert [partners()[row] for row in partners()] == list(range(len(CORRECTED)))
    correction.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").stat().st_size < 300_000
    again = LandmarkCorrection.load(tmp_path / "again.npz")
    assert torch.equal(again.shift, correction.shift)
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(AssetError, match="no landmark correction"):
        LandmarkCorrection.load(tmp_path / "other.npz")
