"""The points that face detector, face mesh and pose model have in common, and how they agree."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.tracking.detection import POSE
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose

# Face mesh landmarks at the face detector's points, and the pose landmarks that go with each.
MESH_POINTS = (468, 473, 1, 13)
POSE_POINTS = [
    [POSE[name] for name in names]
    for names in (
        ("right_eye", "right_eye_inner", "right_eye_outer"),
        ("left_eye", "left_eye_inner", "left_eye_outer"),
        ("nose",),
        ("mouth_left", "mouth_right"),
    )
]
_BESIDE = 0.3  # mean distance of mesh and face, in mesh sizes, from which they are different things
_SMALL = 0.45  # size of the pose's face, in sizes of the face, below which it is another's
# Mean distance of pose and face, in widths of the face, from which the pose is not to be trusted:
# of 350 pictures, profiles mostly, eight lie beyond, whose pose is 10 to 57% of the face off.
_APART = 0.35
# Distance of the eyes, in heights of their middle over the mouth, below which the face detector's
# four points place a head better than the mesh does (27 profiles of training seeds: face points err
# by 1.8 +- 0.6% of the face's box less); beyond 0.4 they place it worse (41 people).
_PROFILE = 0.3


def belongs(pose: FoundPose, face: FoundFace) -> bool:
    """The nose is at the face, and the pose is not a small body laid on a large head."""
    at_face = face.window.scaled(1.6).contains(*pose.points[POSE["nose"], :2])
    return at_face and _extent(_marks(pose)) > _SMALL * _extent(face.points)


def contradicts(pose: FoundPose, face: FoundFace) -> bool:
    """The pose has eyes, nose and mouth quite elsewhere than the face detector."""
    apart = np.linalg.norm(_marks(pose) - face.points, axis=-1).mean()
    return bool(apart > _APART * face.window.width)


def in_profile(face: FoundFace, limit: float = _PROFILE) -> bool:
    """The eyes lie one behind the other: near to each other, beside their height over the mouth."""
    right, left, _, mouth = face.points
    height = np.linalg.norm((right + left) / 2 - mouth)
    return bool(np.linalg.norm(right - left) < limit * height)


def beside(mesh: np.ndarray, face: FoundFace | None) -> bool:
    """In profile, a mesh [478 2] may lie on an ear, where the face detector is not misled."""
    if face is None:
        return False
    apart = np.linalg.norm(mesh[list(MESH_POINTS)] - face.points, axis=-1).mean()
    return bool(apart > _BESIDE * np.ptp(mesh, 0).max())


def with_face(pose: FoundPose, face: FoundFace) -> FoundPose:
    """Moves the pose's eyes, nose and mouth to where the face detector has them."""
    points = pose.points.copy()
    for indices, point in zip(POSE_POINTS, face.points):
        points[indices, :2] += point - points[indices, :2].mean(0)
    return dataclasses.replace(pose, points=points)


def _marks(pose: FoundPose) -> np.ndarray:
    """Returns the pose's place [4 2] of each of the face detector's points."""
    return np.stack([pose.points[indices, :2].mean(0) for indices in POSE_POINTS])


def _extent(points: np.ndarray) -> float:
    return float(np.linalg.norm(points - points.mean(0)))
