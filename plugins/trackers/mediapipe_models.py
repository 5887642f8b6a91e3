"""MediaPipe's bundled models behind plain functions of arrays, loaded when first used.

The wheel (0.10.21) carries all models that are used here; nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from presence.errors import AssetError
from presence.tracking.windows import Window


@dataclasses.dataclass(frozen=True)
class FoundFace:
    """One face.

    Attributes:
        window: its box, px.
        score: the detector's.
        points: [4 2] px of the person's right and left eye, nose and mouth.
    """

    window: Window
    score: float
    points: np.ndarray


@dataclasses.dataclass(frozen=True)
class FoundPose:
    """One person's 33 pose landmarks.

    Attributes:
        points: [33 3] crop px x, y, visibility.
        world: [33 3] metres, camera axes, hip centre at the origin.
        mask: [h w] probability of being the person, of the crop's size.
    """

    points: np.ndarray
    world: np.ndarray
    mask: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class FoundHand:
    """One hand's 21 landmarks.

    Attributes:
        points: [21 2] crop px.
        world: [21 3] metres, camera axes.
        is_left: whether the model takes it for the person's left hand.
        score: of that choice.
    """

    points: np.ndarray
    world: np.ndarray
    is_left: bool
    score: float


class MediaPipeModels:
    """The models, each built at its first call and kept."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def faces(self, image: np.ndarray) -> list[FoundFace]:
        """Finds faces in [H W 3] uint8 with the short- and the full-range model, largest first.

        Of a face that both find, the points are averaged.
        """
        found: list[FoundFace] = []
        for selection in (0, 1):
            model = self._model(
                f"faces{selection}",
                "face_detection.FaceDetection",
                model_selection=selection,
                min_detection_confidence=0.5,
            )
            for item in _run(model, image).detections or []:
                box, (height, width) = item.location_data.relative_bounding_box, image.shape[:2]
                window = Window(
                    box.xmin * width, box.ymin * height, box.width * width, box.height * height
                )
                marks = item.location_data.relative_keypoints[:4]
                points = np.array([[mark.x * width, mark.y * height] for mark in marks])
                face = FoundFace(window, float(item.score[0]), points)
                same = [i for i, o in enumerate(found) if not _distinct(window, o.window)]
                if not same:
                    found.append(face)
                elif selection == 1:
                    other = found[same[0]]
                    middle = (other.points + points) / 2
                    found[same[0]] = dataclasses.replace(other, points=middle)
        return sorted(found, key=lambda face: -face.window.area)

    def face_mesh(self, image: np.ndarray) -> np.ndarray | None:
        """Finds the face mesh nearest to the middle of a crop: [478 2] px, or None."""
        model = self._model(
            "face_mesh",
            "face_mesh.FaceMesh",
            static_image_mode=True,
            max_num_faces=3,
            refine_landmarks=True,
            min_detection_confidence=0.3,
        )
        found = _run(model, image).multi_face_landmarks or []
        meshes = [_points(face.landmark, image)[:, :2] for face in found]
        middle = np.array(image.shape[1::-1]) / 2
        return min(meshes, key=lambda m: np.linalg.norm(m.mean(0) - middle), default=None)

    def pose(self, image: np.ndarray) -> FoundPose | None:
        """Finds the most prominent person in a crop."""
        model = self._model(
            "pose",
            "pose.Pose",
            static_image_mode=True,
            model_complexity=1,
            enable_segmentation=True,
            min_detection_confidence=0.5,
        )
        found = _run(model, image)
        if found.pose_landmarks is None:
            return None
        points = _points(found.pose_landmarks.landmark, image)
        points[:, 2] = [mark.visibility for mark in found.pose_landmarks.landmark]
        world = np.array([[m.x, m.y, m.z] for m in found.pose_world_landmarks.landmark])
        mask = None if found.segmentation_mask is None else found.segmentation_mask.copy()
        return FoundPose(points, world, mask)

    def hands(self, image: np.ndarray, confidence: float = 0.3) -> list[FoundHand]:
        """Finds up to two hands in a crop; `confidence` is the palm detector's threshold."""
        model = self._model(
            f"hands{confidence}",
            "hands.Hands",
            static_image_mode=True,
            max_num_hands=2,
            model_complexity=1,
            min_detection_confidence=confidence,
        )
        result = _run(model, image)
        found = []
        for marks, metric, side in zip(
            result.multi_hand_landmarks or [],
            result.multi_hand_world_landmarks or [],
            result.multi_handedness or [],
        ):
            world = np.array([[m.x, m.y, m.z] for m in metric.landmark])
            label = side.classification[0]
            # The model's labels assume a mirrored (selfie) picture; ours are not mirrored.
            is_left = label.label == "Right"
            points = _points(marks.landmark, image)[:, :2]
            found.append(FoundHand(points, world, is_left, float(label.score)))
        return found

    def selfie(self, image: np.ndarray) -> np.ndarray:
        """Returns the probability [h w] that a crop's pixels belong to people."""
        model = self._model("selfie", "selfie_segmentation.SelfieSegmentation", model_selection=0)
        return _run(model, image).segmentation_mask.copy()

    def _model(self, name: str, path: str, **options: Any) -> Any:
        if name not in self._built:
            with quiet_stderr():
                cls = _solutions()
                for part in path.split("."):
                    cls = getattr(cls, part)
                self._built[name] = cls(**options)
        return self._built[name]


def _solutions() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import mediapipe
    except ImportError as error:
        raise AssetError(
            "the MediaPipe tracker needs the package mediapipe: pip install mediapipe==0.10.21 "
            f"({error})"
        ) from error
    return mediapipe.solutions


def _run(model: Any, image: np.ndarray) -> Any:
    with quiet_stderr():
        return model.process(np.ascontiguousarray(image))


def _points(landmarks: Any, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.array([[m.x * width, m.y * height, m.z * width] for m in landmarks], np.float64)


def _distinct(first: Window, second: Window) -> bool:
    x, y = first.centre
    u, v = second.centre
    nested = second.contains(x, y) or first.contains(u, v)
    return first.overlap(second) < 0.3 and not nested


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Sends file descriptor 2 to nowhere: MediaPipe's C++ side logs there whatever is set."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr to silence
        yield
        return
    with open(os.devnull, "w") as nowhere:
        sys.stderr.flush()
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
