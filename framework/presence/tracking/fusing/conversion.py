"""`Estimate` (the world is the camera) to `Tracking` (the person is the origin), and back."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from presence.bodies import Body
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import BodyParams, Camera, Estimate, PartEstimate, Tracking
from presence.structures.estimate import ExpressionSpace

CAM_FROM_WORLD = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""Axes of a camera that looks at a person from the front: y down, z away from it."""


def space_of(body: Body) -> ExpressionSpace:
    """Returns whose shape and expression coefficients a body takes.

    SMPL-X's release of 2020 carries FLAME 2020's expressions and says so in its file's name.
    """
    if body.name in get_args(ExpressionSpace):
        return body.name  # type: ignore[return-value]
    return "flame2020" if "2020" in body.name else "smplx"


def tracking_of(
    estimate: Estimate, body: Body, visibility: dict[str, float] | None = None
) -> Tracking:
    """Returns the tracking that looks the same through the same camera.

    The person comes to the world's origin (zero translation, axes of SMPL-X); the camera keeps
    the distance.

    Args:
        estimate: unbatched, without an anchor, its coefficients those of `body`.
        body: the body that it is of.
        visibility: part to how surely it was seen.
    """
    params, cam = estimate.body, CAM_FROM_WORLD.to(estimate.body.pose)
    pelvis = _pelvis(body, params)
    # A vertex v is seen at R (v - J) + J + t, and in the world stands at F R (v - J) + J.
    pose = params.pose.clone()
    pose[0] = matrix_to_axis_angle(cam @ axis_angle_to_matrix(params.pose[0]))
    cam_from_world = torch.eye(4).to(cam)
    cam_from_world[:3, :3] = cam
    cam_from_world[:3, 3] = pelvis + params.translation - cam @ pelvis
    return Tracking(
        body=params.replace(pose=pose, translation=torch.zeros_like(params.translation)),
        camera=estimate.camera.replace(cam_from_world=cam_from_world),
        visibility=dict(visibility or {}),
        keypoints=dict(estimate.keypoints),
        notes=estimate.notes,
        parts=dict(estimate.parts),
    )


def estimate_of(
    tracking: Tracking, body: Body, parts: dict[str, PartEstimate], estimator: str
) -> Estimate:
    """Returns the estimate that looks the same: parameters in the camera's own axes.

    Args:
        tracking: unbatched.
        body: the body that it is of.
        parts: how far each part may be used; all of `PART_JOINTS`, since all have a pose.
        estimator: name of what tracked.
    """
    params, camera = tracking.body, tracking.camera
    turn, shift = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
    pelvis = _pelvis(body, params)
    pose = params.pose.clone()
    pose[0] = matrix_to_axis_angle(turn @ axis_angle_to_matrix(params.pose[0]))
    translation = turn @ (pelvis + params.translation) + shift - pelvis
    return Estimate(
        body=params.replace(pose=pose, translation=translation),
        camera=Camera(camera.K, torch.eye(4).to(camera.K), camera.width, camera.height),
        parts=parts,
        keypoints=dict(tracking.keypoints),
        expression_space=space_of(body) if params.expression.shape[-1] else "",
        estimator=estimator,
        notes=tracking.notes,
    )


def _pelvis(body: Body, params: BodyParams) -> Tensor:
    """The rest position [3] of the joint about which the whole body turns."""
    with torch.no_grad():
        return body.rest_joints(params.betas, params.expression)[0]
