"""Where a posed body stands so that its landmarks come to lie on the detected ones."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import InputError
from presence.structures import BodyParams, Tracking
from presence.tracking.detection import Detection
from presence.tracking.evidence import keypoint_weights
from presence.tracking.landmarks import LandmarkMap

_ROUNDS = 6


def placed(
    body: Body, params: BodyParams, K: Tensor, landmarks: LandmarkMap, detection: Detection
) -> Tensor:
    """Returns the translation [3] (m, camera axes) that fits the landmarks best.

    Everything else stays, so the projection is linear in the translation but for the depth by
    which each row is divided; a few rounds settle that, and discount outliers (Geman-McClure).
    Each set of landmarks counts as one, or the face's many would outvote the body.

    Args:
        body: the body.
        params: unbatched, in camera axes; their translation is not used.
        K: [3 3] px, of the detection's picture.
        landmarks: where the detection's landmarks lie on the body.
        detection: what to fit.

    Raises:
        InputError: fewer than three landmarks are sure.
    """
    with torch.no_grad():
        mesh = body(params.replace(translation=torch.zeros(3)))
        weights = keypoint_weights(detection)
        sets = [name for name, values in weights.items() if float(values.sum()) > 0]
        points = [landmarks.points(body, name, mesh) for name in sets]
        target = [detection.keypoints[name][:, :2] for name in sets]
        share = [weights[name] / weights[name].sum() for name in sets]
    if sum(int((values > 0).sum()) for values in share) < 3:
        raise InputError("too few landmarks are sure to place a body")
    return solve_translation(torch.cat(points), torch.cat(target), torch.cat(share), K)


def landmark_distance(
    body: Body, landmarks: LandmarkMap, tracking: Tracking, detection: Detection
) -> float:
    """Returns how far the pose's sure landmarks lie from the detected ones, in the mean.

    Args:
        body: the body.
        landmarks: where they lie on it.
        tracking: of the body.
        detection: px of the tracking's picture.

    Returns:
        % of the larger side of the detected ones' box; 0 where fewer than two are sure.
    """
    points = detection.keypoints.get("pose")
    if points is None:
        return 0.0
    sure = (points[:, 2] > 0.5) & detection.inside(points)
    if int(sure.sum()) < 2:
        return 0.0
    with torch.no_grad():
        px, _ = tracking.camera.project(landmarks.points(body, "pose", body(tracking.body)))
    seen = points[sure, :2]
    size = float((seen.amax(0) - seen.amin(0)).max())
    return 100 * float((px[sure] - seen).norm(dim=-1).mean()) / max(size, 1.0)


def solve_translation(points: Tensor, target: Tensor, weights: Tensor, K: Tensor) -> Tensor:
    """Returns the translation [3] that brings points nearest to pixels.

    Args:
        points: [N 3] metres, camera axes.
        target: [N 2] px.
        weights: [N].
        K: [3 3] px.
    """
    points, target, weights, K = (value.double() for value in (points, target, weights, K))
    focal, centre = K[[0, 1], [0, 1]], K[:2, 2]
    # focal (X + t) = (u - centre) (Z + t_z), for x and y.
    away = target - centre  # [N 2]
    rows = torch.zeros(len(points), 2, 3, dtype=torch.float64)
    rows[:, 0, 0], rows[:, 1, 1] = focal[0], focal[1]
    rows[:, :, 2] = -away
    right = away * points[:, 2:] - focal * points[:, :2]  # [N 2]
    trust = weights.clone()
    shift = torch.zeros(3, dtype=torch.float64)
    for number in range(_ROUNDS):
        # The first round knows no depth: all rows are divided by the same one.
        depth = (points[:, 2] + shift[2]).clamp_min(1e-3) if number else torch.ones(len(points))
        scale = (trust.sqrt() / depth)[:, None]
        shift = torch.linalg.lstsq(
            (rows * scale[..., None]).flatten(0, 1), (right * scale).flatten()[:, None]
        ).solution[:, 0]
        error = ((rows @ shift - right) / (points[:, 2:] + shift[2])).norm(dim=-1)  # px
        usual = 3 * error[weights > 0].median().clamp_min(1e-6)
        trust = weights / (1 + (error / usual).square()).square()
    return shift.float()
