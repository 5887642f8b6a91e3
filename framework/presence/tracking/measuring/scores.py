"""How far one tracked person is from the truth, in the numbers that the benchmark reports."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.joints import JOINT_NAMES
from presence.rasterize import build_rasterizer
from presence.structures import Camera, MeshTopology, Tracking
from presence.tracking.detection import Detection
from presence.tracking.evidence import keypoint_weights
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.measuring.known_people import KnownPerson

_SURE = 0.5  # confidence from which a detected landmark counts


def score_person(
    body: Body, landmarks: LandmarkMap, person: KnownPerson, tracking: Tracking
) -> dict[str, float]:
    """Compares a tracking with the truth.

    Returns:
        `reprojection`: mean distance of the fitted body landmarks from the detected ones that the
        fit listens to, and `keypoints`: of all body landmarks from the true ones, both in % of the
        height of the person's box in the picture and over landmarks inside it; `iou` of the two
        bodies' silhouettes; `face`: mean distance of the 478 face points from the true ones, % of
        the face's box; `vertices`: mean vertex distance after a similarity alignment, mm; for each
        side, `left_hand` (share of the hand that is seen), `left_forearm` (angle to the true
        elbow-wrist direction as the camera sees it, degrees) and `left_hangs` (angle of the true
        one from straight down).
    """
    truth, found = body(person.body), body(tracking.body)
    masks = [
        mesh_mask(mesh.vertices, camera, body.topology)
        for mesh, camera in ((truth, person.camera), (found, tracking.camera))
    ]
    rows = torch.nonzero(masks[0].any(1))[:, 0]
    height = float(rows.max() - rows.min() + 1)
    scores = {
        "iou": float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()),
        "vertices": 1e3 * procrustes_error(found.vertices, truth.vertices),
    }
    true_px = person.camera.project(landmarks.points(body, "pose", truth))[0]
    px = tracking.camera.project(landmarks.points(body, "pose", found))[0]
    inside = person.camera.contains(true_px)
    scores["keypoints"] = 100 * _mean_distance(px, true_px, inside) / height
    if "pose" in tracking.keypoints:
        seen = tracking.keypoints["pose"]
        sure = (seen[:, 2] > _SURE) & person.camera.contains(seen[:, :2]) & _used(tracking)
        scores["reprojection"] = 100 * _mean_distance(px, seen[:, :2], sure) / height
    true_px = person.camera.project(landmarks.points(body, "face", truth))[0]
    px = tracking.camera.project(landmarks.points(body, "face", found))[0]
    box = float((true_px.amax(0) - true_px.amin(0)).max())
    scores["face"] = 100 * _mean_distance(px, true_px, person.camera.contains(true_px)) / box
    seen_parts = visible_shares(body, truth.vertices, person.camera)
    for side in ("left", "right"):
        scores[f"{side}_hand"] = seen_parts[f"{side}_hand"]
        elbow, wrist = (JOINT_NAMES.index(f"{side}_{part}") for part in ("elbow", "wrist"))
        bones = [
            camera.cam_from_world[:3, :3] @ (mesh.joints[wrist] - mesh.joints[elbow])
            for mesh, camera in ((truth, person.camera), (found, tracking.camera))
        ]
        scores[f"{side}_forearm"] = angle_between(*bones)
        down = person.camera.cam_from_world[:3, :3] @ torch.tensor([0.0, -1.0, 0.0])
        scores[f"{side}_hangs"] = angle_between(bones[0], down)
    return scores


def mesh_mask(vertices: Tensor, camera: Camera, topology: MeshTopology) -> Tensor:
    """Returns where a mesh [V 3] covers the camera's picture: [H W] bool."""
    return _face_ids(vertices, camera, topology.faces) >= 0


def visible_shares(body: Body, vertices: Tensor, camera: Camera) -> Mapping[str, float]:
    """Returns how much of each hand is seen: not outside the picture, not behind the body.

    A hand's pixels are compared with those that it would have alone, on a canvas twice as wide
    and high as the picture.
    """
    faces, across = body.topology.faces, (camera.width, camera.height)
    corner = (-across[0] / 2, -across[1] / 2)
    wide = camera.cropped(*corner, 2 * across[0], 2 * across[1])
    ids = _face_ids(vertices, camera, faces)
    shares = {}
    for side in ("left", "right"):
        member = torch.zeros(body.num_vertices, dtype=torch.bool)
        member[body.vertex_parts[f"{side}_hand"]] = True
        chosen = member[faces].all(-1)
        alone = int((_face_ids(vertices, wide, faces[chosen]) >= 0).sum())
        seen = int(((ids >= 0) & chosen[ids.clamp_min(0)]).sum())
        shares[f"{side}_hand"] = seen / alone if alone else 0.0
    return shares


def procrustes_error(points: Tensor, target: Tensor) -> float:
    """Returns the mean distance of points [N 3] from target [N 3] after the best similarity.

    Source: Umeyama 1991, Eq. 40-42.

    Example:
        >>> cube = torch.rand(8, 3)
        >>> procrustes_error(2 * cube + 1, cube) < 1e-5
        True
    """
    first, second = points.double(), target.double()
    first, second = first - first.mean(0), second - second.mean(0)
    u, s, vt = torch.linalg.svd(second.T @ first)
    sign = torch.ones(3, dtype=s.dtype)
    sign[2] = torch.sign(torch.linalg.det(u @ vt))
    rotation = u @ torch.diag(sign) @ vt
    scale = (s * sign).sum() / first.square().sum()
    return float((scale * first @ rotation.T - second).norm(dim=-1).mean())


def angle_between(first: Tensor, second: Tensor) -> float:
    """Returns degrees between two directions [3]."""
    cosine = torch.cosine_similarity(first, second, 0).clamp(-1, 1)
    return math.degrees(float(torch.arccos(cosine)))


def _face_ids(vertices: Tensor, camera: Camera, faces: Tensor) -> Tensor:
    screen = camera.screen(vertices)[None]
    fragments = build_rasterizer("cpu")(screen, faces, camera.height, camera.width)
    return fragments.face_ids[0]


def _used(tracking: Tracking) -> Tensor:
    """Which of the body's landmarks the fit listens to: where a face mesh is, not the face's."""
    size = tracking.camera.width, tracking.camera.height
    return keypoint_weights(Detection(*size, tracking.keypoints))["pose"] > 0


def _mean_distance(px: Tensor, target: Tensor, chosen: Tensor) -> float:
    distances = (px - target).norm(dim=-1)[chosen]
    return float(distances.mean()) if len(distances) else math.nan
