"""MediaPipe's landmarks and the fit to them, behind the output that all estimators share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from presence.interfaces import Estimator
from presence.registry import ESTIMATORS
from presence.structures import PART_JOINTS, Cues, Estimate, PartEstimate, Portrait, Tracking
from presence.tracking.fusing.conversion import estimate_of
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker

_SEEN = 0.5  # the fit's own rule for trunk and head; a hand counts when it was found at all
_FACE = "face"


@ESTIMATORS.register()
class MediaPipeEstimator(Estimator):
    """The open default as an estimator: it needs no file and no cues.

    Its parameters are those of the body that it fits. What was not seen keeps a relaxed pose
    (`Estimate.held`), so that every part may be used; `valid` says whether it was seen.

    Args:
        body: the body model to fit, built or by name.
        landmarks: landmark map for that body; None for the body's own.
        fov: degrees across the picture's longer side.
        silhouette: how much the mask shapes the body.
        tracker: a tracker to use instead of a new one; the other options are then not used.
    """

    name = "mediapipe"
    asset = ""
    parts = tuple(PART_JOINTS)

    def __init__(
        self,
        *,
        body: Any = "annyx",
        landmarks: str | None = None,
        fov: float = 20.0,
        silhouette: float = 1.0,
        tracker: MediaPipeTracker | None = None,
    ) -> None:
        self.tracker = tracker or MediaPipeTracker(
            body=body, landmarks=landmarks, fov=fov, silhouette=silhouette
        )

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Finds and fits the largest person; the cues are not needed.

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """
        return (self.estimate(self.tracker.track(portrait)[1]),)

    def estimate(self, tracking: Tracking) -> Estimate:
        """Returns the estimate of a tracking that the fit made."""
        parts = {
            part: _judged(part, tracking.visibility, tracking.keypoints) for part in PART_JOINTS
        }
        found = estimate_of(tracking, self.tracker.body, parts, self.name)
        return found.replace(held=tuple(PART_JOINTS))


def _judged(part: str, seen: dict[str, float], keypoints: dict[str, Tensor]) -> PartEstimate:
    if part == _FACE:
        points = keypoints.get(_FACE, torch.zeros(1, 3))
        confidence, valid = float(points[:, 2].mean()), _FACE in keypoints
        reason = "its landmarks were found" if valid else "no landmarks: neutral expression"
        return PartEstimate(min(confidence, 1.0), valid, "mediapipe", reason)
    confidence = min(max(seen[part], 0.0), 1.0)
    valid = confidence > 0 if "hand" in part else confidence >= _SEEN
    reason = "its landmarks were found" if valid else "not seen: held in the relaxed pose"
    return PartEstimate(confidence, valid, "mediapipe", reason)
