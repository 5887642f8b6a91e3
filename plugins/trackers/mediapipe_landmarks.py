"""MediaPipe in the forms in which landmark maps and their corrections are derived on renders."""

from __future__ import annotations

import numpy as np

from presence.errors import InputError
from presence.tracking.correction_fitting import Watch
from presence.tracking.detection import Detection
from presence.tracking.landmark_building import Detect
from presence_plugins.trackers.mediapipe_detector import MediaPipeDetector
from presence_plugins.trackers.mediapipe_models import MediaPipeModels
from presence_plugins.trackers.mediapipe_segmenter import MediaPipeSegmenter


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


def watcher(models: MediaPipeModels | None = None) -> Watch:
    """Returns a function from [H W 3] uint8 to the tracker's detection and mask, or None."""
    models = models or MediaPipeModels()
    detector, segmenter = MediaPipeDetector(models), MediaPipeSegmenter(models)

    def watch(image: np.ndarray) -> tuple[Detection, np.ndarray] | None:
        try:
            detection = detector(image)
        except InputError:
            return None
        return detection, segmenter(image, detection)

    return watch
