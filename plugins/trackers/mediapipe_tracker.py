"""The default tracker: MediaPipe's landmarks and masks, and a least-squares fit of the body."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from presence.bodies import load_body
from presence.errors import InputError
from presence.interfaces import Tracker
from presence.registry import TRACKERS
from presence.structures import Portrait, Tracking
from presence.tracking.consistency import consistent
from presence.tracking.detection import Detection
from presence.tracking.face_correction import FaceCorrection
from presence.tracking.fitting import BodyFitter, FitOptions
from presence.tracking.landmark_correction import LandmarkCorrection
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.sapiens_points import SapiensPoints, landmarks_of
from presence.tracking.silhouette import SilhouetteTarget
from presence_plugins.trackers.mediapipe_detector import MediaPipeDetector
from presence_plugins.trackers.mediapipe_models import MediaPipeModels
from presence_plugins.trackers.mediapipe_segmenter import MediaPipeSegmenter

_DETECTION_SIDE = 2048  # px, larger portraits are looked at in a smaller copy
_SMALLEST = 32  # px


@TRACKERS.register()
class MediaPipeTracker(Tracker):
    """Finds the largest person, fits a body to the landmarks, and cuts the person out.

    Which parts were seen decides what is fitted: a head alone, half a body or a whole one, with
    or without hands; the rest keeps the relaxed pose, arms down.

    Args:
        body: the body model to fit, built, or the name under which `load_body` finds it. The fit
            runs on the CPU and its results are there, wherever the body or the portrait is.
        landmarks: landmark map for that body: a name or a file; None for the body's own.
        fov: degrees across the portrait's longer side.
        silhouette: how much the mask shapes the body, 0 to fit landmarks alone.

    Example:
        >>> TRACKERS.build(dict(type="MediaPipeTracker", fov=25.0)).fitter.options.fov
        25.0
    """

    def __init__(
        self,
        *,
        body: Any = "annyx",
        landmarks: str | None = None,
        fov: float = 20.0,
        silhouette: float = 1.0,
    ) -> None:
        self.body = _on_cpu(load_body(body) if isinstance(body, str) else body)
        self._landmarks = landmarks or self.body.name
        self._options = FitOptions(fov=fov, silhouette=silhouette)
        self._models = MediaPipeModels()
        self._own = self._landmarks == self.body.name  # what is corrected are distances to this map
        faces = FaceCorrection.bundled(self.body.name) if self._own else None
        self.detector = MediaPipeDetector(self._models, faces)
        self.segmenter = MediaPipeSegmenter(self._models)

    @property
    def fov(self) -> float:
        """Degrees across a portrait's longer side."""
        return self._options.fov

    @functools.cached_property
    def fitter(self) -> BodyFitter:
        """The fit, set up when it is first needed."""
        correction = LandmarkCorrection.bundled(self.body.name) if self._own else None
        landmarks = LandmarkMap.load(self._landmarks)
        return BodyFitter(self.body, landmarks, self._options, correction)

    def __call__(self, portrait: Portrait) -> Tracking:
        """Tracks one portrait [3 H W].

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """
        return self.track(portrait)[1]

    def track(self, portrait: Portrait) -> tuple[Portrait, Tracking]:
        """Tracks one portrait and cuts the person out.

        Args:
            portrait: unbatched; an `alpha` that leaves something out is taken as the person's
                mask, one that is all ones is replaced.

        Returns:
            the portrait with the person's alpha, and the tracking.

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """
        image, detection = self.detect(portrait)
        cut_out = self.cut_out(portrait, image, detection)
        return cut_out, self.fit(cut_out, detection)

    def fit(
        self,
        portrait: Portrait,
        detection: Detection,
        *,
        betas: Tensor | None = None,
        sapiens: SapiensPoints | None = None,
    ) -> Tracking:
        """Fits the body to what was detected.

        Args:
            portrait: with the person's alpha.
            detection: of `detect`.
            betas: [S] the person's shape where it is known, which then stays.
            sapiens: Sapiens' keypoints, px of the detection's picture, which take the place of
                the detection's where they are sure.

        Raises:
            InputError: too few landmarks are confident to place a body.
            AssetError: there are no landmark correspondences for the body.
        """
        alpha = portrait.alpha[0].detach().cpu().numpy()
        small = _resize(alpha, detection.height, detection.width)
        if sapiens is None:
            return _enlarged(self.fitter(detection, small, betas=betas), portrait)
        joined = self._joined(detection, small, sapiens)
        landmarks = landmarks_of(self.fitter.landmarks, joined)
        fitter = BodyFitter(self.body, landmarks, self._options)
        return _enlarged(fitter(joined, small, betas=betas), portrait)

    def _joined(self, detection: Detection, alpha: np.ndarray, points: SapiensPoints) -> Detection:
        """Corrects MediaPipe's landmarks for clothes, and only then takes Sapiens'."""
        detection = consistent(detection)
        correction = self.fitter.correction
        if correction is not None:
            detection = correction(detection, SilhouetteTarget(alpha))
        return points.join(detection)

    def cut_out(self, portrait: Portrait, image: np.ndarray, detection: Detection) -> Portrait:
        """Returns the portrait with the person's alpha; see `detect` for the arguments."""
        alpha = self._alpha(portrait, image, detection)
        return portrait.replace(alpha=alpha[None].to(portrait.rgb))

    def segment(self, portrait: Portrait) -> Tensor:
        """Returns the person's soft mask [1 H W].

        Raises:
            InputError: nobody is in the picture.
        """
        image, detection = self.detect(portrait)
        return self._alpha(portrait, image, detection)[None]

    def detect(self, portrait: Portrait) -> tuple[np.ndarray, Detection]:
        """Returns the working copy [h w 3] (uint8) of a portrait, and what is seen in it.

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """
        height, width = portrait.size
        if min(height, width) < _SMALLEST:
            raise InputError(f"the picture is too small to find a person in: {width} x {height} px")
        image = (portrait.rgb.detach().cpu().clamp(0, 1) * 255).round().byte()
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        scale = min(1.0, _DETECTION_SIDE / max(height, width))
        if scale < 1.0:
            pixels = _resize(pixels, round(height * scale), round(width * scale))
        return pixels, self.detector(pixels)

    def _alpha(self, portrait: Portrait, image: np.ndarray, detection: Detection) -> Tensor:
        """The portrait's own mask where it has one; otherwise a new one, at the portrait's size."""
        given = portrait.alpha[0].detach().cpu()
        if float((given < 0.5).float().mean()) > 0.01:
            return given
        return torch.from_numpy(_resize(self.segmenter(image, detection), *portrait.size))


def _on_cpu(body: Any) -> Any:
    """The fit's many small steps are for a CPU; a body on a GPU stays there, and is copied."""
    if all(buffer.device.type == "cpu" for buffer in body.buffers()):
        return body
    return copy.deepcopy(body).cpu()


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    if array.shape[:2] == (height, width):
        return array
    import cv2

    shrinks = height < array.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(array, (width, height), interpolation=method))


def _enlarged(tracking: Tracking, portrait: Portrait) -> Tracking:
    """Brings camera and keypoints from the working copy to the portrait's pixels."""
    height, width = portrait.size
    scale = torch.tensor([width / tracking.camera.width, height / tracking.camera.height, 1.0])
    return tracking.replace(
        camera=tracking.camera.resized(width, height),
        keypoints={name: points * scale for name, points in tracking.keypoints.items()},
    )
