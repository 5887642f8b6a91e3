"""Arms: the hands that they end at, and where they are if no hand is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from presence.tracking.detection import POSE, hips_far_below
from presence.tracking.windows import Window
from presence_plugins.trackers.mediapipe_hands import ending_at, find_hands
from presence_plugins.trackers.mediapipe_looks import MediaPipeLooks
from presence_plugins.trackers.mediapipe_models import FoundFace, FoundHand, FoundPose

_ARM = ("elbow", "wrist", "pinky", "index", "thumb")
_RAISED = 0.8  # of the trunk's length: wrists above may be before it
_WIDER, _BODY_OF_FACE = 1.3, 6.0  # sizes of windows, of the picture's and of the face's
_OTHER_BODY = 0.4  # trunks between the shoulders of two poses from which they are two people's
_ASTRAY = 0.2  # trunks from the median at which a look does not agree
_MOVED = 0.06  # trunks from the median up to which the first look stays; right ones are 0.04 off


def find_arms(
    looks: MediaPipeLooks, image: np.ndarray, pose: FoundPose, face: FoundFace | None
) -> tuple[FoundPose, dict[str, FoundHand]]:
    """Finds the hands, settles arms without one, and lets the others end at theirs.

    Args:
        looks: the models.
        image: the picture.
        pose: as it was found.
        face: of the person, where one was found.

    Returns:
        The pose with its arms, and the hands by side.
    """
    hands = find_hands(looks, image, pose)
    sides = [side for side in ("left", "right") if side not in hands]
    settled = steady_arms(looks, image, pose, face, sides)
    if settled is not pose:
        again = find_hands(looks, image, settled)
        hands |= {side: hand for side, hand in again.items() if side in sides}
    return ending_at(settled, hands), hands


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
    changes; where this is so of all arms, the pose itself comes back.

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
    settled = pose
    for side in raised:
        arm = [POSE[f"{side}_{name}"] for name in _ARM]
        wrist = points[:, POSE[f"{side}_wrist"], :2]
        if np.linalg.norm(np.median(wrist, 0) - wrist[0]) < _MOVED * trunk:
            continue  # the first look was right
        if settled is pose:
            settled = FoundPose(pose.points.copy(), pose.world.copy(), pose.mask)
        settled.world[arm] = np.median(world[:, arm], 0)
        settled.points[arm] = np.median(points[:, arm], 0)
        away = np.linalg.norm(points[:, arm, :2] - settled.points[arm, :2], axis=-1)
        settled.points[arm, 2] = points[:, arm, 2].mean(0) * (away < _ASTRAY * trunk).mean(0)
    return settled


def _from(pose: FoundPose, shoulders: np.ndarray) -> float:
    return float(np.linalg.norm(_middle(pose.points, "shoulder") - shoulders))


def _middle(points: np.ndarray, part: str) -> np.ndarray:
    return points[[POSE[f"left_{part}"], POSE[f"right_{part}"]], :2].mean(0)
