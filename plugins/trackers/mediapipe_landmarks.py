"""MediaPipe's single models in the form in which `build_landmarks` runs them on renders."""

from __future__ import annotations

import numpy as np

from presence.tracking.landmark_building import Detect
from presence_plugins.trackers.mediapipe_models import MediaPipeModels


def render_detectors(models: MediaPipeModels | None = None) -> dict[str, Detect]:
    """Returns one function a landmark set, from [H W 3] uint8 to landmarks [K 2 or 3] or None."""
    models = models or MediaPipeModels()

    def pose(image: np.ndarray) -> np.ndarray | None:
        found = models.pose(image)
        return None if found is None else found.points

    def hand(image: np.ndarray, is_left: bool) -> np.ndarray | None:
        for found in models.hands(image):
            if found.is_left == is_left and found.score > 0.8:
                return np.column_stack([found.points, np.ones(21)])
        return None

    return {
        "face": models.face_mesh,
        "pose": pose,
        "left_hand": lambda image: hand(image, True),
        "right_hand": lambda image: hand(image, False),
    }
