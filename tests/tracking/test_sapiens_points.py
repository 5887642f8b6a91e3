"""Sapiens' 308 points as landmarks: which is which, where on the body, and when they count."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from sapiens_people import JOINTS, hands_of, sapiens_keypoints

from presence.structures import Portrait
from presence.tracking.detection import POSE, Detection
from presence.tracking.evidence import keypoint_weights, visible_parts
from presence.tracking.fusing.cues import cues_of, landmark_box
from presence.tracking.fusing.gate import sight_of
from presence.tracking.relaxed import JOINT
from presence.tracking.sapiens_points import (
    SapiensPoints,
    is_sparse,
    landmarks_of,
    whose_keypoints,
)

ONE = torch.ones(2)


@pytest.fixture
def scene(body, landmarks, seen):
    params = seen.params(0)
    camera = seen.camera(params, "full")
    keypoints = sapiens_keypoints(body, landmarks, params, camera)
    return params, camera, seen.detect(params, camera), keypoints


def joined(detection, keypoints):
    return SapiensPoints.of(keypoints, ONE).join(detection)


def test_the_true_body_lies_on_its_joined_landmarks(body, landmarks, scene):
    """Sapiens' joints in the middle of joints; with MediaPipe's map hips would be cm off."""
    params, camera, detection, keypoints = scene
    found = joined(detection, keypoints)
    own = landmarks_of(landmarks, found)
    for name in ("pose", "left_hand", "right_hand", "face"):
        px, _ = camera.project(own.points(body, name, body(params)))
        gaps = (px - found.keypoints[name][:, :2]).norm(dim=-1)
        assert gaps[found.taken[name]].max() < 0.05, name
        anchors = own.anchors(body, name)  # of the fit and the refinement: the same points
        assert len(anchors) == len(px)
    mesh, hips = body(params), [POSE["left_hip"], POSE["right_hip"]]
    at = own.points(body, "pose", mesh)[hips]
    torch.testing.assert_close(at, mesh.joints[[JOINT["left_hip"], JOINT["right_hip"]]])
    assert (landmarks.points(body, "pose", mesh)[hips] - at).norm(dim=-1).min() > 0.03
    assert int(found.taken["pose"].sum()) == 23 and int(found.taken["face"].sum()) == 21


def test_only_sure_points_are_taken(scene):
    _, _, detection, keypoints = scene
    points = keypoints["sapiens308"].clone()
    points[7, 2] = 0.49  # left elbow
    points[8, :2] += 30.0  # right elbow
    points[11] = torch.tensor([-5.0, 400.0, 0.9])  # left knee, beside the picture
    found = joined(detection, {**keypoints, "sapiens308": points})
    before, after = detection.keypoints["pose"], found.keypoints["pose"]
    for name in ("left_elbow", "left_knee", "left_index"):
        assert torch.equal(after[POSE[name]], before[POSE[name]])
        assert not found.taken["pose"][POSE[name]]
    row = POSE["right_elbow"]
    assert torch.equal(after[row, :2], points[8, :2])
    assert after[row, 2] == before[row, 2]  # the surer of both: MediaPipe's 0.97
    moved = found.world["pose"][row] - detection.world["pose"][row]
    assert moved[0] > 0 and moved[1] > 0 and moved[2] == 0
    assert not detection.taken


def test_without_sure_points_nothing_changes(landmarks, scene):
    _, _, detection, keypoints = scene
    unsure = {name: points * torch.tensor([1, 1, 0.3]) for name, points in keypoints.items()}
    found = joined(detection, unsure)
    assert not found.taken and landmarks_of(landmarks, found) is landmarks
    for name, points in detection.keypoints.items():
        assert torch.equal(found.keypoints[name], points)
    assert "sure of none" in whose_keypoints(found)


def test_hands_that_only_sapiens_sees_count_in_the_gate(scene):
    _, _, detection, keypoints = scene
    alone = {k: v for k, v in detection.keypoints.items() if "hand" not in k}
    unseen = dataclasses.replace(detection, keypoints=alone)
    assert sight_of(unseen).left_hand == 0
    sight = sight_of(joined(unseen, keypoints))
    assert sight.left_hand == pytest.approx(0.9) and sight.right_hand == pytest.approx(0.9)
    half = hands_of(keypoints["sapiens308"])
    half["left_hand"][:, 2] = 0.4
    assert sight_of(joined(unseen, {**keypoints, **half})).left_hand == 0


def test_a_hand_elsewhere_takes_its_metric_landmarks_along(scene):
    _, _, detection, keypoints = scene
    far = {**keypoints, "left_hand": keypoints["left_hand"] - torch.tensor([90.0, 0, 0])}
    found = joined(detection, far)
    assert "left_hand" not in found.world and "right_hand" in found.world


def test_wrists_of_half_bodies_need_their_hand(body, landmarks, seen):
    params = seen.params(0)
    camera = seen.camera(params, "half")
    detection = seen.detect(params, camera, ("pose", "face"))
    pose = detection.keypoints["pose"].clone()
    pose[[POSE["left_hip"], POSE["right_hip"]], 2] = 0.1
    detection = dataclasses.replace(detection, keypoints={"pose": pose})
    keypoints = sapiens_keypoints(body, landmarks, params, camera, hands=False)
    points = keypoints["sapiens308"]
    points[[41, 62]] = torch.tensor([[300.0, 300, 0.9], [400, 300, 0.9]])  # flipped up
    points[[9, 10], 2] = 0.0
    wrists = [POSE["left_wrist"], POSE["right_wrist"]]
    found = joined(detection, keypoints)
    assert not found.taken["pose"][wrists].any()
    points[[9, 10]] = torch.tensor([[300.0, 700, 0.9], [400, 700, 0.9]])  # hips are seen
    assert joined(detection, keypoints).taken["pose"][wrists].all()


def test_facial_points_alone_are_for_the_fit_and_no_mesh(scene):
    _, camera, detection, keypoints = scene
    pose = dataclasses.replace(detection, keypoints={"pose": detection.keypoints["pose"]})
    found = joined(pose, keypoints)
    weights = keypoint_weights(found)
    assert int((weights["face"] > 0).sum()) == 21 and is_sparse(found)
    assert visible_parts(found)["head"] == pytest.approx(0.9)
    ears = [POSE["left_ear"], POSE["right_ear"]]
    assert (weights["pose"][ears] > 0).all()
    portrait = Portrait(torch.zeros(3, 800, 800), torch.ones(1, 800, 800))
    cues = cues_of(found, portrait)
    assert "face" not in cues.keypoints and "left_hand" in cues.keypoints
    assert not is_sparse(joined(detection, keypoints))


def test_a_mesh_on_another_thing_gives_way(scene):
    _, _, detection, keypoints = scene
    face = detection.keypoints["face"] + torch.tensor([80.0, 0, 0])
    beside = dataclasses.replace(detection, keypoints={**detection.keypoints, "face": face})
    found = joined(beside, keypoints)
    assert is_sparse(found) and int((found.keypoints["face"][:, 2] > 0).sum()) == 21


def test_sapiens_alone_makes_a_pose(scene):
    _, camera, _, keypoints = scene
    found = joined(Detection(camera.width, camera.height, {}), keypoints)
    weights = keypoint_weights(found)["pose"]
    assert (weights[~found.taken["pose"]] == 0).all()
    shoulders = [POSE["left_shoulder"], POSE["right_shoulder"]]
    assert torch.equal(found.keypoints["pose"][shoulders], keypoints["sapiens308"][[5, 6]])
    assert (weights[shoulders] == 1).all() and not found.world


def test_the_portraits_pixels_become_the_working_copys(scene):
    _, _, _, keypoints = scene
    half = SapiensPoints.of(keypoints, torch.tensor([0.5, 0.25]))
    expected = keypoints["sapiens308"] * torch.tensor([0.5, 0.25, 1.0])
    assert torch.equal(half.points, expected)
    assert torch.equal(half.hands["left_hand"][0], expected[62])


def test_the_note_counts(scene):
    _, _, detection, keypoints = scene
    note = whose_keypoints(joined(detection, keypoints))
    assert note == (
        "keypoints: sapiens_pose's for 23 of the body's 33 landmarks, 21 of the face's 478 "
        "landmarks, the left hand, the right hand; mediapipe's for the rest"
    )
    assert set(JOINTS) <= set(range(308))


@pytest.mark.parametrize("framing", ["full", "half", "head"])
def test_the_landmarks_box_is_about_the_persons(body, seen, framing):
    """Against the projected body itself, in the picture; the network's crop adds a quarter."""
    params = seen.params(0)
    camera = seen.camera(params, framing)
    px, _ = camera.project(body(params).vertices)
    px = px[((px > 0) & (px < 800)).all(-1)]
    truth = torch.cat([px.amin(0), px.amax(0)])
    box = landmark_box(seen.detect(params, camera))
    inner = torch.cat([torch.maximum(box[:2], truth[:2]), torch.minimum(box[2:], truth[2:])])
    areas = [float((b[2:] - b[:2]).clamp_min(0).prod()) for b in (inner, box, truth)]
    assert areas[0] / (areas[1] + areas[2] - areas[0]) > 0.7
    middle = (box[2:] + box[:2]) / 2
    reach = 1.25 * (box[2:] - box[:2]) / 2  # of the crop, before it is made 3:4
    inside = ((px - middle).abs() <= reach).all(-1)
    assert inside.float().mean() > 0.98


def test_nobody_has_no_box():
    assert landmark_box(Detection(10, 10, {})) is None
    assert landmark_box(Detection(10, 10, {"pose": torch.zeros(33, 3)})) is None
