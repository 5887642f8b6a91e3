"""Further looks where the first did not do: profiles without a face mesh, poses beside the face."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_face_points import belongs, contradicts
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose

_FACE_WINDOWS = (2.0, 2.5, 3.0, 3.5, 4.5)  # sizes of crops about the face, in its sizes
_POSE_WINDOWS = (3.0, 4.5, 6.0)
_FLOOR = 0.49  # just below the least score that the detector reports: such a face counts nothing


def steady_face(looks: MediaPipeLooks, image: np.ndarray, face: FoundFace) -> FoundFace:
    """Returns a face with the points that crops of several sizes agree on, and their best score.

    Each coordinate is the median, weighted by what the scores exceed the detector's threshold by.
    A face that no crop shows again comes back as it is.
    """
    found = []
    for factor in _FACE_WINDOWS:
        near = looks.faces(image, face.window.square().scaled(factor))
        found += [again for again in near if again.window.overlap(face.window) > 0.2][:1]
    if not found:
        return face
    points = _weighted_median(
        np.stack([again.points for again in found]),
        np.array([again.score - _FLOOR for again in found]),
    )
    score = max(again.score for again in (face, *found))
    return dataclasses.replace(face, points=points, score=score)


def pose_again(looks: MediaPipeLooks, image: np.ndarray, face: FoundFace) -> FoundPose | None:
    """Looks for the body of a face in windows that may leave the picture.

    In close-ups the pose model may take the face for a whole body, or find none; with the rim
    repeated around the picture it sees a head and shoulders.
    """
    x, y = face.window.centre
    size = max(face.window.width, face.window.height)
    for width in _POSE_WINDOWS:
        side = width * size
        pose = looks.pose(image, Window.around(x, y + side / 8, side, side))
        if pose is not None and belongs(pose, face) and not contradicts(pose, face):
            return pose
    return None


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted median over the first axis of values [N ...] with weights [N]."""
    order = np.argsort(values, 0)
    below = np.cumsum(weights[order], 0)
    middle = (below >= below[-1:] / 2).argmax(0)[None]
    return np.take_along_axis(np.take_along_axis(values, order, 0), middle, 0)[0]
