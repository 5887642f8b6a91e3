from __future__ import annotations

import dataclasses

import pytest
import torch

from presence.tracking.consistency import consistent
from presence.tracking.detection import POSE
from presence.tracking.evidence import keypoint_weights
from presence.tracking.fitting import BodyFitter
from presence.tracking.initial_pose import hanging_direction
from presence.tracking.measuring.scores import angle_between, mesh_mask
from presence.tracking.relaxed import JOINT


def test_a_face_beside_the_head_is_dropped_and_one_on_it_kept(seen):
    params = seen.params(0)
    detection = seen.detect(params, seen.camera(params, "half"))
    assert "face" in consistent(detection).keypoints
    face = detection.keypoints["face"].clone()
    size = float((face[:, :2].amax(0) - face[:, :2].amin(0)).max())
    face[:, 0] += 0.8 * size
    moved = dataclasses.replace(detection, keypoints={**detection.keypoints, "face": face})
    kept = consistent(moved)
    assert "face" not in kept.keypoints and "beside the head" in kept.notes[-1]


def test_arms_laid_along_the_rim_count_as_unseen(seen):
    params = seen.params(0)
    detection = seen.detect(params, seen.camera(params, "half"), ("pose", "face"))
    pose = detection.keypoints["pose"].clone()
    pose[[POSE["right_elbow"], POSE["right_wrist"]]] = torch.tensor([6.0, 790.0, 0.7])
    pose[POSE["left_elbow"]] = torch.tensor([500.0, 600.0, 0.9])
    pose[POSE["left_wrist"]] = torch.tensor([500.0, 795.0, 0.9])  # cut off at the wrist: it tells
    found = consistent(
        dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})
    )
    assert found.confidence("right_wrist") < 0.4 and found.confidence("right_elbow") < 0.4
    assert found.confidence("left_wrist") > 0.8


def test_in_a_picture_of_a_head_a_wrist_without_a_hand_counts_as_unseen(seen):
    params = seen.params(0)
    camera = seen.camera(params, "head")
    for sets, framing_hips, counts in (
        (("pose", "face"), 1.5, False),
        (("pose", "face"), 1.1, True),  # just below the picture: the trunk is seen
        (("pose", "face", "left_hand"), 1.5, True),
    ):
        detection = seen.detect(params, camera, sets)
        pose = detection.keypoints["pose"].clone()
        pose[POSE["left_wrist"]] = torch.tensor([300.0, 600.0, 0.9])
        pose[[POSE["left_hip"], POSE["right_hip"]], 1] = framing_hips * 800
        moved = dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})
        assert (consistent(moved).confidence("left_wrist") > 0.5) is counts


@pytest.mark.parametrize(("confidence", "counts"), [(0.95, True), (0.6, False)])
def test_an_arm_that_reaches_beyond_the_picture_points_where_it_does(
    seen, body, landmarks, confidence, counts
):
    """Held out sideways, with the elbow by the rim and the hand beyond it."""
    params = seen.params(1, yaw=0.0)
    pose = params.pose.clone()
    pose[JOINT["left_shoulder"]] = torch.tensor([0.0, -0.1, -0.1])
    pose[JOINT["left_elbow"]] = torch.tensor([0.0, -0.3, 0.6])
    params = params.replace(pose=pose)
    detection = seen.detect(params, seen.camera(params, "half"), ("pose", "face"))
    points = detection.keypoints["pose"].clone()
    assert points[POSE["left_elbow"], 0] > 0.97 * 800 and points[POSE["left_wrist"], 0] > 850
    points[[POSE["left_elbow"], POSE["left_wrist"]], 2] = confidence
    sets = {**detection.keypoints, "pose": points}
    found = body(BodyFitter(body, landmarks)(dataclasses.replace(detection, keypoints=sets)).body)
    for first, second in (("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")):
        true, got = (
            mesh.joints[JOINT[second]] - mesh.joints[JOINT[first]] for mesh in (body(params), found)
        )
        assert (angle_between(true, got) < 35) == counts, (second, angle_between(true, got))


def test_a_forearm_that_is_not_seen_hangs(seen, body, landmarks, monkeypatch):
    """The upper arm points forwards; the detector places the hand beyond the picture."""
    params = seen.params(2, yaw=0.0)
    pose = params.pose.clone()
    pose[JOINT["left_shoulder"]] = torch.tensor([-0.7, -0.2, -1.0])
    params = params.replace(pose=pose)
    detection = seen.detect(params, seen.camera(params, "full"), ("pose", "face"))
    marks = detection.keypoints["pose"].clone()
    hand = [POSE[f"left_{n}"] for n in ("wrist", "pinky", "index", "thumb")]
    marks[hand] = torch.tensor([-300.0, 400.0, 0.05])
    hidden = dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": marks})

    def from_straight_down():
        joints = body(BodyFitter(body, landmarks)(hidden).body).joints
        forearm = joints[JOINT["left_wrist"]] - joints[JOINT["left_elbow"]]
        return angle_between(forearm, torch.tensor([0.0, -1.0, 0.0]))

    hanging = from_straight_down()
    monkeypatch.setattr("presence.tracking.objective._HANGING_SIGMA", 100.0)
    assert hanging < 40 and hanging < from_straight_down() - 5


@pytest.mark.parametrize("yaw", [0.0, 0.6, -1.2])
def test_hands_hang_a_little_before_the_body(seen, body, yaw):
    params = seen.params(0, yaw=yaw)
    detection = seen.detect(params, seen.camera(params, "full"), ("pose", "face"))
    joints = body(params).joints
    left = joints[JOINT["left_shoulder"]] - joints[JOINT["right_shoulder"]]
    left = torch.nn.functional.normalize(left * torch.tensor([1.0, 0.0, 1.0]), dim=0)
    ahead = torch.linalg.cross(left, torch.tensor([0.0, 1.0, 0.0]))
    found = hanging_direction(detection)
    tilt = [torch.rad2deg(torch.atan2(found @ axis, -found[1])) for axis in (left, ahead)]
    assert abs(float(tilt[0])) < 3 and abs(float(tilt[1]) - 12) < 3


def test_a_hidden_hand_of_a_body_counts_where_it_is_placed_and_not_along_the_rim(seen):
    params = seen.params(0)
    detection = seen.detect(params, seen.camera(params, "full"), ("pose", "face"))
    arm = [POSE[f"left_{n}"] for n in ("elbow", "wrist", "pinky", "index", "thumb")]

    def least(place=None, hips=None):
        pose = detection.keypoints["pose"].clone()
        pose[arm, 2] = 0.05
        if place is not None:
            pose[arm, :2] = torch.tensor(place)
        if hips is not None:
            pose[[POSE["left_hip"], POSE["right_hip"]], 1] = hips
        sets = {**detection.keypoints, "pose": pose}
        weights = keypoint_weights(dataclasses.replace(detection, keypoints=sets))
        return float(weights["pose"][arm].min())

    assert least() > 0.1
    assert least(place=(790.0, 400.0)) == 0
    assert least(hips=1000.0) == 0


def test_a_hidden_hand_is_fitted_where_it_is_placed(seen, body, landmarks):
    """The forearm lies before the body; the detector places it, and calls it unseen."""
    params = seen.params(2, yaw=0.0)
    camera = seen.camera(params, "full")
    detection = seen.detect(params, camera, ("pose", "face"))
    marks = detection.keypoints["pose"].clone()
    marks[[POSE[f"left_{n}"] for n in ("wrist", "pinky", "index", "thumb")], 2] = 0.05
    sets = {**detection.keypoints, "pose": marks}
    hidden = dataclasses.replace(detection, keypoints=sets)
    tracking = BodyFitter(body, landmarks)(hidden)
    wrist = JOINT["left_wrist"]
    px = tracking.camera.project(body(tracking.body).joints[[wrist]])[0]
    true = camera.project(body(params).joints[[wrist]])[0]
    assert float((px - true).norm()) < 0.05 * camera.height


def test_landmarks_hold_longer_against_a_mask_that_lacks_an_elbow(
    seen, body, landmarks, monkeypatch
):
    params = seen.params(0)
    camera = seen.camera(params, "half")
    detection = seen.detect(params, camera, ("pose", "face"))
    alpha = mesh_mask(body(params).vertices, camera, body.topology).float().numpy()
    alpha[:, int(detection.point("left_elbow")[0]) - 140 :] = 0
    joint = [JOINT["left_elbow"]]
    true, _ = camera.project(body(params).joints[joint])

    def error():
        found = BodyFitter(body, landmarks)(detection, alpha)
        return float((found.camera.project(body(found.body).joints[joint])[0] - true).norm())

    firm = error()
    monkeypatch.setattr("presence.tracking.fitting._FIRM", 4.0)  # as before the mask counts
    assert firm < 0.85 * error()
