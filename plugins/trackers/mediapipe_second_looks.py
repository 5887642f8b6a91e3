"""Further looks where the first did not do: faces in profile, poses beside the face."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_face_points import belongs, contradicts
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose

_FACE_WINDOWS = (2.0, 2.5, 3.0, 3.5, 4.5)  # sizes of crops about the face, in its sizes
_MESH_WINDOWS = (2.0, 1.5, 3.0)
_SAME_MESH, _OFTEN = 0.08, 4  # sizes of the mesh; looks of six that must find it
_POSE_WINDOWS = (3.0, 4.5, 6.0)
_FLIPS = (False, True)
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


def is_steady(
    looks: MediaPipeLooks, image: np.ndarray, face: FoundFace | None, mesh: np.ndarray
) -> bool:
    """Tells whether further looks find a face mesh where it was found.

    What is none (an ear, a beard's edge) is found in few crops, or elsewhere in each, and not in
    brighter ones: where the mesh lay within 8% of its size in six crops, it was right to 7.5% of
    the face's box (193 heads and half bodies), where in at most three of six, to 30% on average.
    """
    low, high = mesh.min(0), mesh.max(0)
    own = Window(*low, *(high - low)) if face is None else face.window
    bright = _brighter(image)

    def found(picture: np.ndarray, factor: float) -> bool:
        again = looks.mesh(picture, own.square().scaled(factor))
        if again is None:
            return False
        apart = np.linalg.norm(again - mesh, axis=-1).mean()
        return bool(apart < _SAME_MESH * (high - low).max())

    if found(bright, _MESH_WINDOWS[0]):
        return True
    times = [found(image, f) for f in _MESH_WINDOWS] + [found(bright, f) for f in _MESH_WINDOWS[1:]]
    return sum(times) >= _OFTEN


def _brighter(image: np.ndarray) -> np.ndarray:
    return np.round(255 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)[image]


def pose_again(looks: MediaPipeLooks, image: np.ndarray, face: FoundFace) -> FoundPose | None:
    """Looks for the body of a face in windows that may leave the picture.

    In close-ups the pose model may take the face for a whole body, or find none; with the rim
    repeated around the picture it sees a head and shoulders.
    """
    x, y = face.window.centre
    size = max(face.window.width, face.window.height)
    for flip in _FLIPS:
        for width in _POSE_WINDOWS:
            side = width * size
            window = Window.around(x, y + side / 8, side, side)
            pose = looks.pose(image, window, mirrored=flip)
            if pose is not None and belongs(pose, face) and not contradicts(pose, face):
                return pose
    return None


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted median over the first axis of values [N ...] with weights [N]."""
    order = np.argsort(values, 0)
    below = np.cumsum(weights[order], 0)
    middle = (below >= below[-1:] / 2).argmax(0)[None]
    return np.take_along_axis(np.take_along_axis(values, order, 0), middle, 0)[0]
