"""Landmark agreement: what a detector finds on a rendering against where the body model is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.evaluation.compare import Comparison
from presence.evaluation.metrics import Metric
from presence.evaluation.view_landmarks import ViewLandmarks, no_landmarks
from presence.interfaces import Body
from presence.io.images import to_uint8
from presence.registry import METRICS
from presence.tracking.detection import POSE
from presence.tracking.windows import Window, cut

Detect = Callable[[np.ndarray], np.ndarray | None]
"""Finds a landmark set in [H W 3] uint8: [K 2 or more] px, or None."""

_FACING = 0.5  # cosine: a face turned further than 60 degrees away is not looked for
_SHARE_INSIDE = 0.9  # of the face's landmarks; a face at the picture's edge is not looked for
_FACE_WINDOW, _FACE_SIDE = 2.0, 512  # side of the crop in units of the face, and in px
_SHOULDERS = [POSE["left_shoulder"], POSE["right_shoulder"]]


@METRICS.register()
class LandmarkAgreement(Metric):
    """How far landmarks found on the picture lie from those of the posed body, and how often none.

    No weights of a user's are needed: the detector is MediaPipe, and the points on the body are
    the tracker's own correspondences (`presence.tracking.landmarks`). The distance is averaged
    over the landmarks inside the picture. It holds the detector's own error and that of the given
    parameters: `on="portrait"` measures the same on the true picture, as the floor.

    `landmarks_face` is in percent of the side of the face's box (the root of its area) and is
    asked where the face is turned by less than 60 degrees from the camera and is in the picture;
    `landmarks_pose` is in percent of the person's height and is asked where both shoulders are in
    the picture. A second column holds the failures: views where it was asked, but the detector
    found nothing.

    Args:
        part: the landmark set, 478 points of the face or 33 of the body.
        on: the picture that the detector sees, over the comparison's background.
        detect: a detector instead of MediaPipe's.
        subjects: measure so many samples from the first on, since a picture takes 60 ms on a CPU;
            None for all.
    """

    higher_is_better = False

    def __init__(
        self,
        part: Literal["face", "pose"] = "face",
        *,
        on: Literal["rendering", "portrait"] = "rendering",
        detect: Detect | None = None,
        subjects: int | None = None,
    ) -> None:
        if part not in ("face", "pose") or on not in ("rendering", "portrait"):
            raise ConfigError(
                "LandmarkAgreement: part should be face or pose, and on rendering or portrait, "
                f"got {part!r} and {on!r}"
            )
        self.part, self.on, self._detect, self.subjects = part, on, detect, subjects
        truth = on == "portrait"
        self.name = f"landmarks_{part}{'_true' if truth else ''}"
        unit = "face" if part == "face" else "height"
        self.label = f"{part} landmarks{' of the true picture' if truth else ''} (% of {unit})"

    @property
    def columns(self) -> dict[str, str]:
        """The distance, and the failures."""
        return {self.name: self.label, f"{self.name}_failed": self.label.split(" (")[0] + " failed"}

    def missing(self) -> str | None:
        """Returns why MediaPipe cannot be used, None if it can."""
        return None if self._detect is not None else _no_mediapipe(self.part)

    def unsuited(self, body: Body | None) -> str | None:
        """Returns why the body has no landmarks, None if it has."""
        return no_landmarks(body)

    def __call__(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Cannot measure two pictures without a body.

        Raises:
            TypeError: always.
        """
        raise TypeError("LandmarkAgreement needs a Comparison with a view and a body")

    @torch.no_grad()
    def measure(self, comparison: Comparison) -> dict[str, Tensor]:
        """Measures two views [B]; NaN where nothing was asked, or found."""
        marks = comparison.landmarks(self.part)
        pictures = comparison.prediction if self.on == "rendering" else comparison.target
        size = self._unit(comparison, marks)
        distance, failed = torch.full_like(size, torch.nan), torch.full_like(size, torch.nan)
        for i in self._asked(marks).nonzero()[:, 0].tolist():
            found = self._find(to_uint8(pictures[i]), marks.px[i].cpu().numpy())
            failed[i] = float(found is None)
            if found is not None:
                away = (torch.from_numpy(found).to(marks.px) - marks.px[i]).norm(dim=-1)
                distance[i] = 100 * away[marks.inside[i]].mean() / size[i]
        return {self.name: distance, f"{self.name}_failed": failed}

    def _asked(self, marks: ViewLandmarks) -> Tensor:
        if self.part == "face":
            return (marks.facing >= _FACING) & (marks.inside.float().mean(-1) >= _SHARE_INSIDE)
        return marks.inside[:, _SHOULDERS].all(-1)

    def _unit(self, comparison: Comparison, marks: ViewLandmarks) -> Tensor:
        """The length of 100% in each picture [B], px."""
        if self.part == "face":
            return (marks.px.amax(1) - marks.px.amin(1)).prod(-1).sqrt()
        view, mesh = comparison.view, comparison.mesh
        assert view is not None
        height = mesh.rest_vertices[..., 1].amax(-1) - mesh.rest_vertices[..., 1].amin(-1)
        depth = view.camera.to_cam(mesh.joints[:, :1])[:, 0, 2]  # of the pelvis
        return height * view.camera.K[:, 1, 1] / depth

    def _find(self, image: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
        """Looks for the set [K 2] px: the face around where the body's is, the pose everywhere."""
        detect = self._detect or _mediapipe(self.part)
        window = Window.whole(image)
        if self.part == "face":
            low, high = expected.min(0), expected.max(0)
            face = Window.around(*((low + high) / 2), *(high - low)).square()
            window = face.scaled(_FACE_WINDOW)
        side = _FACE_SIDE if self.part == "face" else max(image.shape[:2])
        crop = cut(image, window, side)
        found = detect(crop)
        if found is None:
            return None
        scale = np.array([window.width / crop.shape[1], window.height / crop.shape[0]])
        return found[:, :2] * scale + (window.left, window.top)


@functools.cache
def _no_mediapipe(part: str) -> str | None:
    try:
        import mediapipe  # noqa: F401

        _mediapipe(part)(np.zeros((64, 64, 3), np.uint8))
    except Exception as error:  # absent, for another numpy, without a library: all end in a reason
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"landmarks need MediaPipe (pip install mediapipe==0.10.21): {reason}"
    return None


@functools.cache
def _mediapipe(part: str) -> Detect:
    from presence_plugins.trackers.mediapipe_landmarks import render_detectors

    return render_detectors()[part]
