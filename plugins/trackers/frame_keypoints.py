"""Sapiens' keypoints of frames of a video, several in one run of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from presence.errors import InputError
from presence.interfaces import Estimator
from presence.structures import Cues, Estimate, Portrait
from presence.tracking.detection import Detection
from presence.tracking.fusing.cues import cues_of, landmark_box
from presence.tracking.sapiens_points import SapiensPoints


def frame_keypoints(
    estimator: Estimator, portraits: Sequence[Portrait], detections: Sequence[Detection]
) -> list[SapiensPoints | None]:
    """Returns the keypoints of frames [B], px of the detections' pictures.

    Args:
        estimator: Sapiens'; one with `together` sees all frames at once.
        portraits: [B]; one whose alpha is all ones has no mask, and its landmarks tell where the
            person is.
        detections: [B] of the portraits or smaller copies.

    Raises:
        PresenceError: the estimator cannot be used at all; of a frame in which it finds nothing
            the result is None.
    """
    cues = [_cues(*view) for view in zip(portraits, detections, strict=True)]
    return [
        None if found is None else _points(found, portrait, detection)
        for found, portrait, detection in zip(
            _estimates(estimator, portraits, cues), portraits, detections, strict=True
        )
    ]


def _cues(portrait: Portrait, detection: Detection) -> Cues:
    cues = cues_of(detection, portrait)
    if not bool((portrait.alpha >= 1).all()):
        return cues
    box, (height, width) = landmark_box(detection), portrait.size
    if box is not None:
        scale = box.new_tensor([width / detection.width, height / detection.height])
        box = box * scale.repeat(2)
    return Cues(person=box, keypoints=cues.keypoints)


def _estimates(
    estimator: Estimator, portraits: Sequence[Portrait], cues: Sequence[Cues]
) -> list[Estimate | None]:
    if hasattr(estimator, "together"):
        return list(estimator.together(portraits, cues))
    return [_single(estimator, *view) for view in zip(portraits, cues, strict=True)]


def _single(estimator: Estimator, portrait: Portrait, cues: Cues) -> Estimate | None:
    try:
        return next(iter(estimator(portrait, cues)), None)
    except InputError:
        return None


def _points(found: Estimate, portrait: Portrait, detection: Detection) -> SapiensPoints:
    height, width = portrait.size
    scale = torch.tensor([detection.width / width, detection.height / height])
    return SapiensPoints.of(found.keypoints, scale)
