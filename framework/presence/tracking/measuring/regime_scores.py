"""How far one estimate is from a person whose body is known, part by part."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.joints import JAW
from presence.estimation.anchors import resolve_anchor
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import PART_JOINTS, BodyParams, Estimate, View
from presence.tracking.detection import POSE, POSE_NAMES
from presence.tracking.fusing.chains import HEAD, WRISTS, chained
from presence.tracking.fusing.conversion import space_of
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.measuring.scores import procrustes_error, visible_shares

UNITS = {"body": "mm", "head": "deg", "face": "deg", "hand": "mm"}
"""Of each group's error; "keypoints" is in % of the height of the person's box."""
_FEWEST = 5  # body joints in the picture below which a body's error says nothing


def truth_of(body: Body, view: View) -> dict[str, float]:
    """Returns what is true of a rendered person, for the gate's thresholds and the regimes.

    `arms`: 1 where an elbow is in the picture; `lower`: 1 where both knees are; `left_hand`,
    `right_hand`: the share of the hand's pixels that are in the picture and not hidden.
    """
    mesh = body(view.body)
    px, _ = view.camera.project(mesh.joints)
    inside = view.camera.contains(px)
    shares = visible_shares(body, mesh.vertices, view.camera)
    return {
        "arms": float(inside[18] or inside[19]),
        "lower": float(inside[4] and inside[5]),
        **{f"{side}_hand": float(shares[f"{side}_hand"]) for side in ("left", "right")},
    }


def score_estimate(body: Body, view: View, estimate: Estimate) -> dict[str, float]:
    """Returns the errors of the parts that an estimate has.

    Poses are compared on the true person's shape, so that estimators whose shape coefficients
    are another body model's are measured by the same rule.

    - `body` (mm): mean distance of the body's joints that are in the picture, after the best
      similarity.
    - `head` (deg): between the head's rotations in the camera.
    - `face` (deg): between the jaw's rotations.
    - `left_hand`, `right_hand` (mm): mean distance of the 15 finger joints from the wrist, in the
      camera's axes, so that the wrist's rotation counts.

    Args:
        body: the model that the person is made of.
        view: the truth, unbatched.
        estimate: of that picture.
    """
    params = view.body
    turn = view.camera.cam_from_world[:3, :3]
    true_pose = params.pose.clone()
    true_pose[0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(params.pose[0]))
    truth = body(params.replace(pose=true_pose))
    found = body(params.replace(pose=estimate.body.pose))
    inside = view.camera.contains(view.camera.project(body(params).joints)[0])
    errors: dict[str, float] = {}
    joints = inside[:22].nonzero()[:, 0]
    if "upper" in estimate.parts and len(joints) >= _FEWEST:
        errors["body"] = 1e3 * procrustes_error(found.joints[joints], truth.joints[joints])
    if "head" in estimate.parts or "face" in estimate.models:
        model = estimate.models.get("face")
        head = chained(estimate.body.pose, HEAD) if model is None else model.rotation
        errors["head"] = _degrees(head, chained(true_pose, HEAD))
    if "face" in estimate.parts:
        jaws = [axis_angle_to_matrix(pose[JAW]) for pose in (estimate.body.pose, true_pose)]
        errors["face"] = _degrees(*jaws)
    for side, wrist in WRISTS.items():
        if side in estimate.parts and estimate.parts[side].valid:
            errors[side] = 1e3 * _hand_error(body, estimate, params, true_pose, side, wrist)
    return errors


def score_keypoints(
    body: Body, landmarks: LandmarkMap, estimate: Estimate, points: Mapping[str, Tensor]
) -> float | None:
    """Returns the mean distance of an estimate's keypoints from known ones, % of their height.

    Args:
        body: the model that the estimate is of.
        landmarks: where the pose's landmarks lie on it.
        estimate: with an expression or shape in the body's own coefficients.
        points: name of a pose landmark to [2] px.

    Returns:
        None where the estimate is another body model's, or has no body.
    """
    if "upper" not in estimate.parts or estimate.expression_space != space_of(body):
        return None
    mesh = body(resolve_anchor(estimate, body))
    px, _ = estimate.camera.project(landmarks.points(body, "pose", mesh))
    names = [name for name in points if name in POSE]
    known = torch.stack([points[name] for name in names])
    height = float(known[:, 1].max() - known[:, 1].min())
    distances = (px[[POSE[name] for name in names]] - known).norm(dim=-1)
    return 100 * float(distances.mean()) / max(height, 1.0)


def true_keypoints(body: Body, landmarks: LandmarkMap, view: View) -> dict[str, Tensor]:
    """Returns the pose's landmarks of a rendered person that are in the picture, [2] px each."""
    px, _ = view.camera.project(landmarks.points(body, "pose", body(view.body)))
    inside = view.camera.contains(px)
    return {name: px[k] for k, name in enumerate(POSE_NAMES) if inside[k]}


def _hand_error(
    body: Body, estimate: Estimate, params: BodyParams, true_pose: Tensor, side: str, wrist: int
) -> float:
    model = estimate.models.get(side)
    rotation = chained(estimate.body.pose, wrist) if model is None else model.rotation
    fingers = list(PART_JOINTS[side])
    places = []
    for turn, pose in ((rotation, estimate.body.pose), (chained(true_pose, wrist), true_pose)):
        alone = torch.zeros(55, 3)  # the hand on a body in the rest pose, then turned
        alone[fingers] = pose[fingers]
        joints = body(params.replace(pose=alone)).joints
        places.append((joints[fingers] - joints[wrist]) @ turn.mT)
    return float((places[0] - places[1]).norm(dim=-1).mean())


def _degrees(first: Tensor, second: Tensor) -> float:
    return math.degrees(float(matrix_to_axis_angle(first.mT @ second).norm()))
