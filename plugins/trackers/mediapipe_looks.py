"""What MediaPipe's models see in a window of a picture, in the picture's pixels."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.tracking.detection import POSE
from presence.tracking.windows import Window, cut
from presence_plugins.trackers.mediapipe_models import (
    FoundFace,
    FoundHand,
    FoundPose,
    MediaPipeModels,
)

_WORKING_SIDE = 1280  # px, long side of the crops given to the person models
_FACE_SIDE = 512
_HAND_SIDE = 384
_SWAPPED = {"left": "right", "right": "left"}
_OTHER_SIDE = [
    POSE["_".join(_SWAPPED.get(word, word) for word in name.split("_"))] for name in POSE
]


class MediaPipeLooks:
    """Cuts windows out of pictures [H W 3] (uint8 RGB), looks at them, and brings points back.

    Args:
        models: the models to look with.
    """

    def __init__(self, models: MediaPipeModels) -> None:
        self.models = models

    def faces(self, image: np.ndarray, window: Window) -> list[FoundFace]:
        """Finds faces, largest first."""
        crop = cut(image, window, _WORKING_SIDE)
        scale = window.width / crop.shape[1]
        return [
            dataclasses.replace(
                face,
                window=_to_image(face.window, window, scale),
                points=_points_to_image(face.points, window, crop),
            )
            for face in self.models.faces(crop)
        ]

    def pose(
        self, image: np.ndarray, window: Window, *, mirrored: bool = False
    ) -> FoundPose | None:
        """Finds the most prominent person, without its mask; in the mirrored crop, if asked."""
        crop = cut(image, window, _WORKING_SIDE)
        pose = self.models.pose(crop[:, ::-1] if mirrored else crop)
        if pose is None:
            return None
        points, world = pose.points.copy(), pose.world
        if mirrored:
            points, world = points[_OTHER_SIDE], world[_OTHER_SIDE] * (-1, 1, 1)
            points[:, 0] = crop.shape[1] - points[:, 0]
        points[:, :2] = _points_to_image(points[:, :2], window, crop)
        return FoundPose(points, world, None)

    def mesh(self, image: np.ndarray, window: Window) -> np.ndarray | None:
        """Finds the face mesh [478 2] in a window's middle."""
        crop = cut(image, window, _FACE_SIDE)
        mesh = self.models.face_mesh(crop)
        if mesh is None:
            return None
        points = _points_to_image(mesh, window, crop)
        return points if window.scaled(0.6).contains(*points.mean(0)) else None

    def hands(
        self, image: np.ndarray, window: Window, *, turns: int = 0, confidence: float = 0.3
    ) -> list[FoundHand]:
        """Finds up to two hands.

        Args:
            image: the picture.
            window: where to look.
            turns: quarters of a turn, against the clock, by which the crop is turned before.
            confidence: of the palm detector, from which it counts.
        """
        crop = cut(image, window, _HAND_SIDE)
        turned = np.rot90(crop, turns)
        return [
            dataclasses.replace(
                hand,
                points=_points_to_image(_turned_back(hand.points, turned, turns), window, crop),
                world=_directions_turned_back(hand.world, turns),
            )
            for hand in self.models.hands(turned, confidence)
        ]


def _turned_back(points: np.ndarray, turned: np.ndarray, turns: int) -> np.ndarray:
    """Brings pixels [K 2] of a crop that `np.rot90` has turned to the crop itself."""
    height, width = turned.shape[:2]
    for _ in range(turns):
        points = np.stack([height - points[:, 1], points[:, 0]], -1)
        height, width = width, height
    return points


def _directions_turned_back(points: np.ndarray, turns: int) -> np.ndarray:
    """Does so with points [K 3] about an origin of their own, x right and y down."""
    for _ in range(turns):
        points = np.stack([-points[:, 1], points[:, 0], points[:, 2]], -1)
    return points


def _to_image(inner: Window, window: Window, scale: float) -> Window:
    return Window(
        window.left + inner.left * scale,
        window.top + inner.top * scale,
        inner.width * scale,
        inner.height * scale,
    )


def _points_to_image(points: np.ndarray, window: Window, crop: np.ndarray) -> np.ndarray:
    scale = np.array([window.width / crop.shape[1], window.height / crop.shape[0]])
    return points * scale + (window.left, window.top)
