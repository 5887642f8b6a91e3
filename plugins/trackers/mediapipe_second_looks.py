"""Further looks where the first did not do: faces in profile, poses beside the face, arms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from presence.tracking.detection import POSE, hips_far_below
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_face_points import belongs, contradicts
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundPose

_FACE_WINDOWS = (2.0, 2.5, 3.0, 3.5, 4.5)  # sizes of crops about the face, in its sizes
_MESH_WINDOWS = (2.0, 1.5, 3.0)
_SAME_MESH, _OFTEN = 0.08, 4  # sizes of the mesh; looks of six that must find it
_POSE_WINDOWS = (3.0, 4.5, 6.0)
_FLIPS = (False, True)
_ARM = ("elbow", "wrist", "pinky", "index", "thumb")
_RAISED = 0.8  # of the trunk's length: wrists above may be before it
_WIDER, _BODY_OF_FACE = 1.3, 6.0  # sizes of windows, of the picture's and of the face's
_OTHER_BODY = 0.4  # trunks between the shoulders of two poses from which they are two people's
_ASTRAY = 0.2  # trunks from the median at which a look does not agree
_MOVED = 0.06  # trunks from the median up to which the first look stays; right ones are 0.04 off
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


def steady_arms(
    looks: MediaPipeLooks,
    image: np.ndarray,
    pose: FoundPose,
    face: FoundFace | None,
    sides: Sequence[str],
) -> FoundPose:
    """Settles arms that end in the picture without a hand, above the hips: where looks agree.

    A hand before the trunk is seen; where none is, the pose model may have imagined the arm. It
    then has it elsewhere in other windows and in the mirrored picture, and their median counts,
    as surely as so many of them have it there. Where that is where the first look has it, nothing
    changes.

    Args:
        looks: the models.
        image: the picture.
        pose: as it was found.
        face: of the person, where one was found.
        sides: whose hands were not found.
    """
    if hips_far_below(pose.points, image.shape[0]):
        return pose
    shoulders, hips = (_middle(pose.points, part) for part in ("shoulder", "hip"))
    trunk = float(np.linalg.norm(hips - shoulders))
    whole = Window.whole(image)
    raised = [
        side
        for side in sides
        if whole.contains(*pose.points[POSE[f"{side}_wrist"], :2])
        and (pose.points[POSE[f"{side}_wrist"], :2] - shoulders) @ (hips - shoulders)
        < _RAISED * trunk**2
    ]
    if not raised:
        return pose
    windows = [(whole, True), (whole.scaled(_WIDER), False), (whole.scaled(_WIDER), True)]
    if face is not None:
        x, y = face.window.centre
        size = _BODY_OF_FACE * max(face.window.width, face.window.height)
        below = Window.around(x, y + 0.3 * size, size, size)
        windows += [(below, False), (below, True)]
    looked = [looks.pose(image, window, mirrored=flip) for window, flip in windows]
    # One that has the shoulders elsewhere is somebody else's.
    near = [p for p in looked if p is not None and _from(p, shoulders) < _OTHER_BODY * trunk]
    points, world = (
        np.stack([getattr(p, name) for p in (pose, *near)]) for name in ("points", "world")
    )
    settled = FoundPose(pose.points.copy(), pose.world.copy(), pose.mask)
    for side in raised:
        arm = [POSE[f"{side}_{name}"] for name in _ARM]
        wrist = points[:, POSE[f"{side}_wrist"], :2]
        if np.linalg.norm(np.median(wrist, 0) - wrist[0]) < _MOVED * trunk:
            continue  # the first look was right
        settled.world[arm] = np.median(world[:, arm], 0)
        settled.points[arm] = np.median(points[:, arm], 0)
        away = np.linalg.norm(points[:, arm, :2] - settled.points[arm, :2], axis=-1)
        settled.points[arm, 2] = points[:, arm, 2].mean(0) * (away < _ASTRAY * trunk).mean(0)
    return settled


def _from(pose: FoundPose, shoulders: np.ndarray) -> float:
    return float(np.linalg.norm(_middle(pose.points, "shoulder") - shoulders))


def _middle(points: np.ndarray, part: str) -> np.ndarray:
    return points[[POSE[f"left_{part}"], POSE[f"right_{part}"]], :2].mean(0)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted median over the first axis of values [N ...] with weights [N]."""
    order = np.argsort(values, 0)
    below = np.cumsum(weights[order], 0)
    middle = (below >= below[-1:] / 2).argmax(0)[None]
    return np.take_along_axis(np.take_along_axis(values, order, 0), middle, 0)[0]
