"""Segments the tracked person with MediaPipe's two segmentation models and refines the edge."""

from __future__ import annotations

import numpy as np

from presence.tracking.detection import POSE, Detection
from presence.tracking.matting import refine_mask
from presence.tracking.windows import Window, cut, paste
from presence_plugins.trackers.mediapipe_models import MediaPipeModels

_SIDE = 640  # px, long side of crops; the models see 256 x 256
_HEAD_MARKS = 11  # eyes, nose, mouth and ears come first among the pose's landmarks
_MESH_SIZE = 1.45  # of the face mesh, in sizes of those (320 pictures: median; 1.2 to 1.7)


class MediaPipeSegmenter:
    """Averages several looks of the segmentation models at the person, then refines the edge.

    Args:
        models: the models to use; shared ones save their loading time.
    """

    def __init__(self, models: MediaPipeModels | None = None) -> None:
        self.models = models or MediaPipeModels()

    def __call__(self, image: np.ndarray, detection: Detection) -> np.ndarray:
        """Returns the person's mask [H W] float32 in 0..1 of an [H W 3] uint8 picture."""
        return refine_mask(image, self.probability(image, detection))

    def probability(
        self, image: np.ndarray, detection: Detection, reach: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the coarse probability [H W] float32 of being the person.

        Args:
            image: [H W 3] uint8.
            detection: of the person.
            reach: [N 2] px, points in the picture that the person is known to reach besides.
        """
        height, width = image.shape[:2]
        person = _person_window(detection, reach)
        windows = [person, *_parts(person, detection)]
        selfie = _merge([(w, self._selfie(cut(image, w, _SIDE))) for w in windows], height, width)
        crop = cut(image, person, _SIDE)
        pose = self.models.pose(crop)
        if pose is None or pose.mask is None:
            return selfie
        mask, covered = paste(pose.mask, person, height, width)
        # The selfie model takes in everybody and what is held; the pose model only its person,
        # but with a coarser edge. A pixel should convince both.
        both = np.sqrt(np.clip(selfie, 0, 1) * np.clip(mask, 0, 1))
        return np.where(covered > 0, both, 0).astype(np.float32)

    def _selfie(self, crop: np.ndarray) -> np.ndarray:
        mirrored = self.models.selfie(np.ascontiguousarray(crop[:, ::-1]))[:, ::-1]
        return 0.5 * self.models.selfie(crop) + 0.5 * mirrored


def _merge(maps: list[tuple[Window, np.ndarray]], height: int, width: int) -> np.ndarray:
    """Averages maps where they overlap; each counts less towards its window's rim."""
    total = np.zeros((height, width), np.float32)
    weights = np.full((height, width), 1e-6, np.float32)
    for window, values in maps:
        pasted, _ = paste(values, window, height, width)
        rows = np.minimum(np.linspace(0, 1, values.shape[0]), np.linspace(1, 0, values.shape[0]))
        cols = np.minimum(np.linspace(0, 1, values.shape[1]), np.linspace(1, 0, values.shape[1]))
        inner = np.clip(np.minimum(rows[:, None], cols[None]) * 8, 0.02, 1)
        # Smaller windows see more detail and count more.
        weight, _ = paste(inner / np.sqrt(window.area / (height * width)), window, height, width)
        total += pasted * weight
        weights += weight
    return total / weights


def _person_window(detection: Detection, reach: np.ndarray | None = None) -> Window:
    points = [] if reach is None else [reach]
    for name, marks in detection.keypoints.items():
        kept = marks[(marks[:, 2] > 0.3) & detection.inside(marks)]
        if name == "face" and len(kept):  # hair and neck lie well outside the face's landmarks
            box = _box(kept[:, :2].numpy())
            points.append(_corners(box.scaled(2.4)))
        elif len(kept):
            points.append(kept[:, :2].numpy())
    if "face" not in detection.keypoints:
        points.append(_corners(_face_of_pose(detection).scaled(2.4)))
    box = _box(np.concatenate(points)).scaled(1.25)
    pose = detection.keypoints.get("pose")
    if pose is None or float(pose[[POSE["left_hip"], POSE["right_hip"]], 2].max()) < 0.5:
        # Cut off below the chest: the body fills the picture downwards and to the sides.
        x, _ = box.centre
        bottom = max(float(detection.height), box.top + box.height)
        side = max(box.width, bottom - box.top)
        box = Window(x - side / 2, box.top, side, bottom - box.top)
    return _clipped(box, detection)


def _parts(person: Window, detection: Detection) -> list[Window]:
    """Closer looks: the head and shoulders, and halves of a tall person."""
    windows = []
    if "face" in detection.keypoints:
        face = _box(detection.keypoints["face"][:, :2].numpy()).square()
    else:
        face = _face_of_pose(detection)
    x, y = face.centre
    windows.append(
        _clipped(
            Window.around(x, y + 0.3 * face.height, 4 * face.width, 4 * face.height), detection
        )
    )
    if person.height > 1.4 * person.width:
        half = 0.6 * person.height
        for top in (person.top, person.top + person.height - half):
            windows.append(Window(person.left, top, person.width, half))
    return windows


def _face_of_pose(detection: Detection) -> Window:
    """About where the face mesh would lie: around the pose's eyes, nose, mouth and ears."""
    marks = detection.keypoints["pose"][:_HEAD_MARKS, :2].numpy()
    return _box(marks).square().scaled(_MESH_SIZE)


def _box(points: np.ndarray) -> Window:
    low, high = points.min(0), points.max(0)
    return Window(*low.tolist(), *(high - low).tolist())


def _corners(window: Window) -> np.ndarray:
    right, bottom = window.left + window.width, window.top + window.height
    return np.array([[window.left, window.top], [right, bottom]])


def _clipped(window: Window, detection: Detection) -> Window:
    left, top = max(window.left, 0.0), max(window.top, 0.0)
    right = min(window.left + window.width, float(detection.width))
    bottom = min(window.top + window.height, float(detection.height))
    return Window(left, top, max(right - left, 1.0), max(bottom - top, 1.0))
