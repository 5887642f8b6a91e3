from __future__ import annotations

import dataclasses

import torch

from presence.tracking.consistency import consistent
from presence.tracking.detection import POSE
from presence.tracking.fitting import BodyFitter
from presence.tracking.measuring.scores import angle_between
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
    pose[[POSE["right_elbow"], POSE["right_wrist"]]] = torch.tensor([6.0, 790.0, 0.9])
    pose[POSE["left_elbow"]] = torch.tensor([500.0, 600.0, 0.9])
    pose[POSE["left_wrist"]] = torch.tensor([500.0, 795.0, 0.9])  # cut off at the wrist: it tells
    found = consistent(
        dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})
    )
    assert found.confidence("right_wrist") < 0.4 and found.confidence("right_elbow") < 0.4
    assert found.confidence("left_wrist") > 0.8


def test_a_raised_wrist_without_a_hand_counts_as_unseen_in_pictures_of_heads_only(seen):
    params = seen.params(0)
    detection = seen.detect(params, seen.camera(params, "half"), ("pose", "left_hand"))

    def wrists(hips: float):
        pose = detection.keypoints["pose"].clone()
        pose[:, 2] = 0.9
        pose[[POSE["left_hip"], POSE["right_hip"]], 1] = hips * detection.height
        for side, x in (("left", 400.0), ("right", 120.0)):
            pose[POSE[f"{side}_elbow"], :2] = torch.tensor([x, 500.0])
            pose[POSE[f"{side}_wrist"], :2] = torch.tensor([x, 400.0])
        sets = {**detection.keypoints, "pose": pose}
        found = consistent(dataclasses.replace(detection, keypoints=sets))
        assert found.confidence("left_elbow", "right_elbow") > 0.8
        return found.confidence("left_wrist") > 0.8, found.confidence("right_wrist") > 0.8

    assert wrists(hips=1.4) == (True, False)
    assert wrists(hips=0.9) == (True, True)


def test_a_forearm_that_is_not_seen_hangs(seen, body, landmarks, monkeypatch):
    """The upper arm points forwards; nothing is seen below the elbow."""
    params = seen.params(2, yaw=0.0)
    pose = params.pose.clone()
    pose[JOINT["left_shoulder"]] = torch.tensor([-0.7, -0.2, -1.0])
    params = params.replace(pose=pose)
    detection = seen.detect(params, seen.camera(params, "full"), ("pose", "face"))
    marks = detection.keypoints["pose"].clone()
    marks[[POSE[f"left_{n}"] for n in ("wrist", "pinky", "index", "thumb")], 2] = 0.05
    hidden = dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": marks})

    def from_straight_down():
        joints = body(BodyFitter(body, landmarks)(hidden).body).joints
        forearm = joints[JOINT["left_wrist"]] - joints[JOINT["left_elbow"]]
        return angle_between(forearm, torch.tensor([0.0, -1.0, 0.0]))

    hanging = from_straight_down()
    monkeypatch.setattr("presence.tracking.objective._HANGING_SIGMA", 100.0)
    assert hanging < 40 and hanging < from_straight_down() - 5
