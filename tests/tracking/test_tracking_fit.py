from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.geometry import axis_angle_to_matrix
from presence.rasterize import build_rasterizer
from presence.tracking.detection import POSE, Detection
from presence.tracking.fitting import BodyFitter
from presence.tracking.relaxed import JOINT, relaxed_pose


@pytest.fixture(scope="module")
def fitter(body, landmarks):
    return BodyFitter(body, landmarks)


def angle_between(first, second):
    turn = axis_angle_to_matrix(first).transpose(-1, -2) @ axis_angle_to_matrix(second)
    cosine = (turn.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))


def reprojection(body, landmarks, tracking, detection, name):
    """Mean distance (px) of the fitted mesh's landmarks from the detected ones that were sure."""
    points = landmarks.points(body, name, body(tracking.body))
    px, _ = tracking.camera.project(points)
    target = detection.keypoints[name]
    sure = target[:, 2] > 0.5
    return float((px - target[:, :2]).norm(dim=-1)[sure].mean())


def person_height(detection):
    rows = torch.cat([p[p[:, 2] > 0.5, 1] for p in detection.keypoints.values()])
    return float(rows.max() - rows.min())


@pytest.mark.parametrize("seed, yaw", [(0, 0.3), (1, -0.6)])
def test_full_body_is_recovered(seen, body, landmarks, fitter, seed, yaw):
    params = seen.params(seed, yaw)
    camera = seen.camera(params, "full")
    detection = seen.detect(params, camera)
    tracking = fitter(detection)
    height = person_height(detection)
    for name in ("pose", "face", "left_hand", "right_hand"):
        assert reprojection(body, landmarks, tracking, detection, name) < 0.01 * height, name
    limbs = [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("elbow", "knee")]
    assert angle_between(tracking.body.pose, params.pose)[[0, *limbs]].max() < 15
    true_joints, joints = body(params).joints, body(tracking.body).joints
    bones = true_joints[1:22] - true_joints[0] - (joints[1:22] - joints[0])
    assert bones.norm(dim=-1).mean() < 0.05
    assert tracking.visibility["lower"] > 0.9
    assert (tracking.camera.width, tracking.camera.height) == (camera.width, camera.height)


def test_half_body_keeps_unseen_limbs_relaxed(seen, body, landmarks, fitter):
    params = seen.params(3)
    detection = seen.detect(params, seen.camera(params, "half"), ("pose", "face"))
    pose = detection.keypoints["pose"]
    pose[13:23, 2] = 0.02  # no elbow, wrist or knuckle is seen
    pose[23:, 2] = 0.02
    tracking = fitter(detection)
    for name in ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_knee"):
        moved = angle_between(tracking.body.pose[JOINT[name]], relaxed_pose()[JOINT[name]])
        assert moved < 20, name  # forearms of which nothing was seen hang straighter than the prior
    joints = body(tracking.body).joints
    for side in ("left", "right"):  # arms down
        drop = joints[JOINT[f"{side}_shoulder"], 1] - joints[JOINT[f"{side}_wrist"], 1]
        assert drop > 0.35
    assert reprojection(body, landmarks, tracking, detection, "face") < 0.01 * 800
    assert tracking.visibility["lower"] < 0.1
    assert any("legs not seen" in note for note in tracking.notes)


def test_head_alone_moves_only_the_head(seen, body, landmarks, fitter):
    params = seen.params(4)
    camera = seen.camera(params, "head")
    detection = seen.detect(params, camera, ("face",))
    tracking = fitter(detection)
    assert reprojection(body, landmarks, tracking, detection, "face") < 0.01 * 800
    still = [JOINT[n] for n in ("pelvis", "left_shoulder", "right_elbow", "left_hip", "spine1")]
    assert angle_between(tracking.body.pose, relaxed_pose())[still].max() < 5
    world, fitted = body(params).joints, body(tracking.body).joints
    true_eyes, eyes = (j[JOINT["left_eye"]] - j[JOINT["right_eye"]] for j in (world, fitted))
    turn = torch.rad2deg(torch.arccos(torch.cosine_similarity(true_eyes, eyes, 0).clamp(-1, 1)))
    assert turn < 6
    smile = tracking.body.expression[body.expression_names.index("mouthSmileLeft")]
    assert 0.2 < smile < 1.05


def test_an_arm_reaches_the_hand_of_a_picture_of_a_head(seen, body, landmarks, fitter, monkeypatch):
    """A hand before the chin, whose elbow is below the picture: arms start hanging."""
    from presence.tracking import fitting

    params = seen.params(2, yaw=0.2)
    pose = params.pose.clone()
    pose[JOINT["left_shoulder"]] = torch.tensor([-0.2, -0.9, -0.7])
    pose[JOINT["left_elbow"]] = torch.tensor([0.0, -2.1, 0.3])
    params = params.replace(pose=pose)
    camera = seen.camera(params, "head").cropped(-300, -100, 1600, 1300)
    detection = seen.detect(params, camera, ("pose", "face", "left_hand"))
    points = detection.keypoints["pose"].clone()
    assert camera.contains(detection.keypoints["left_hand"][:, :2]).all()
    points[[POSE["left_elbow"], POSE["left_wrist"]], 2] = 0.0
    detection = dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": points})

    def hand_error():
        tracking = fitter(detection)
        mesh = body(tracking.body)
        px = tracking.camera.project(landmarks.points(body, "left_hand", mesh))[0]
        return float((px - detection.keypoints["left_hand"][:, :2]).norm(dim=-1).mean())

    reached = hand_error()
    monkeypatch.setattr(fitting, "reach", lambda objective, state, side: state)
    assert reached < 12 < 40 < hand_error()


def test_mask_widens_a_body_that_landmarks_leave_narrow(seen, body, landmarks, fitter):
    """Rendered from a broad person: with the mask, more of it is covered by the fitted body."""
    params = seen.params(5, yaw=0.0)
    growth = body.shapedirs.reshape(body.num_betas, -1, 3)[:20, body.vertex_parts["torso"]]
    across = body.v_template[body.vertex_parts["torso"], 0].sign()
    wider = (growth[..., 0] * across).mean(-1)  # m outwards for one unit, each coefficient
    wider[0] = 0.0
    betas = torch.zeros(body.num_betas)
    betas[:20] = 2.5 * wider / wider.norm()
    params = params.replace(betas=betas)
    camera = seen.camera(params, "full", size=400)
    detection = seen.detect(params, camera, ("pose", "face"))

    def silhouette(body_params, view):
        screen = view.screen(body(body_params).vertices)[None]
        fragments = build_rasterizer("cpu")(screen, body.topology.faces, 400, 400)
        return (fragments.face_ids[0] >= 0).numpy()

    target = silhouette(params, camera)

    def overlap(tracking):
        found = silhouette(tracking.body, tracking.camera)
        return (found & target).sum() / (found | target).sum()

    without = overlap(fitter(detection))
    with_mask = overlap(fitter(detection, target.astype(np.float32)))
    assert with_mask > without + 0.01
    assert with_mask > 0.9


def test_too_little_to_place_a_body(fitter):
    unsure = torch.zeros(33, 3)
    with pytest.raises(InputError, match="too little"):
        fitter(Detection(200, 200, {"pose": unsure}, {"pose": torch.zeros(33, 3)}))


def test_detection_refuses_sets_of_another_size():
    with pytest.raises(ValueError, match="left_hand"):
        Detection(10, 10, {"left_hand": torch.zeros(20, 3)})
