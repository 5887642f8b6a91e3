"""What MediaPipe's models see in a window of a picture, in the picture's pixels."""

from __future__ import annotations

import dataclasses

import numpy as np

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

    def pose(self, image: np.ndarray, window: Window) -> FoundPose | None:
        """Finds the most prominent person, without its mask."""
        crop = cut(image, window, _WORKING_SIDE)
        pose = self.models.pose(crop)
        if pose is None:
            return None
        points = pose.points.copy()
        points[:, :2] = _points_to_image(points[:, :2], window, crop)
        return FoundPose(points, pose.world, None)

    def mesh(self, image: np.ndarray, window: Window) -> np.ndarray | None:
        """Finds the face mesh [478 2] in a window's middle."""
        crop = cut(image, window, _FACE_SIDE)
        mesh = self.models.face_mesh(crop)
        if mesh is None:
            return None
        points = _points_to_image(mesh, window, crop)
        return points if window.scaled(0.6).contains(*points.mean(0)) else None

    def hands(self, image: np.ndarray, window: Window) -> list[FoundHand]:
        """Finds up to two hands."""
        crop = cut(image, window, _HAND_SIDE)
        return [
            dataclasses.replace(hand, points=_points_to_image(hand.points, window, crop))
            for hand in self.models.hands(crop)
        ]


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
