"""`FrameFits`: looks at frames of a video, and fits single ones as the tracker fits pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from presence.bodies import Body
from presence.errors import InputError
from presence.structures import PartModel, Portrait, Tracking
from presence.tracking.consistency import consistent
from presence.tracking.detection import Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fitting import BodyFitter
from presence.tracking.sapiens_points import SapiensPoints

TOGETHER = 4
"""Frames that Sapiens sees in one run of its network."""
PART_NAMES = ("head", "upper", "lower", "left_hand", "right_hand")


class FrameTracker(Protocol):
    """What a tracker must have to be used on videos; `MediaPipeTracker` does.

    One that also has `others`, the names of estimators that see pictures rather than landmarks,
    as `FusedTracker` does, fits keyframes with its own `fit` where there are any, or with its
    `fit_parts`, which returns the parts' own models too; one that has `with_keypoints` looks at a
    side view again, for better landmarks, and one whose `sees_keypoints` is true at frames, by
    `frame_keypoints`. `regimes` are the gate's thresholds, if they are not the usual ones.
    """

    body: Body
    detector: Callable[[np.ndarray], Detection]
    segmenter: Any
    fitter: BodyFitter


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen in one frame.

    Attributes:
        detection: px of the working copy; None where nobody was found.
        mask: [h w] 0..1; None where the frame was not segmented.
        picture: [h w 3] uint8, kept only where other estimators may have to see it.
        keypoints: Sapiens', px of the working copy, where it looked and found some.
    """

    detection: Detection | None
    mask: np.ndarray | None
    picture: np.ndarray | None = None
    keypoints: SapiensPoints | None = None

    @property
    def joined(self) -> Detection | None:
        """The detection with Sapiens' keypoints where they are sure."""
        if self.detection is None or self.keypoints is None:
            return self.detection
        return self.keypoints.join(self.detection)


@dataclasses.dataclass(frozen=True)
class Fit:
    """One frame, fitted alone.

    Attributes:
        tracking: px of the working copy.
        models: part to its own model as its estimator saw it, px of the working copy.
    """

    tracking: Tracking
    models: Mapping[str, PartModel] = dataclasses.field(default_factory=dict)


class FrameFits:
    """Looks at frames, and fits single ones.

    Args:
        tracker: detector, segmenter and single-frame fit.
        side: px, frames that are larger are looked at in a smaller copy.

    Attributes:
        others: estimators beside MediaPipe that keyframes are fused from.
        missing: those that cannot be had, to the reason; empty for trackers that know none.
        sees_keypoints: whether Sapiens can look at frames.
    """

    def __init__(self, tracker: FrameTracker, side: int) -> None:
        self.tracker, self.side = tracker, side
        self.others: tuple[str, ...] = tuple(getattr(tracker, "others", ()))
        self.missing: dict[str, str] = dict(getattr(tracker, "missing", {}))
        self.sees_keypoints = bool(getattr(tracker, "sees_keypoints", False))

    def look(self, frame: np.ndarray, *, masked: bool) -> Look:
        """Looks at a frame [H W 3] (uint8), and at its mask if that is wanted."""
        small = shrunk(frame, self.side)
        try:
            detection = consistent(self.tracker.detector(small))
        except InputError:
            return Look(None, None)
        mask = self.tracker.segmenter.probability(small, detection) if masked else None
        return Look(detection, mask, small if self.others else None)

    def with_keypoints(self, looks: Sequence[Look], wanted: Iterable[int]) -> list[Look]:
        """Returns looks with Sapiens' keypoints in the wanted frames, several of them at once.

        Args:
            looks: of frames; those that have keypoints, or nobody, stay as they are.
            wanted: numbers among them.
        """
        result = list(looks)
        if not self.sees_keypoints:
            return result
        there = (n for n in wanted if result[n].detection is not None)
        new = [n for n in there if result[n].keypoints is None]
        for first in range(0, len(new), TOGETHER):
            numbers = new[first : first + TOGETHER]
            views = [_whole(result[n]) for n in numbers]
            detections = [result[n].detection for n in numbers]
            found = self.tracker.frame_keypoints(views, detections)  # type: ignore[attr-defined]
            for n, points in zip(numbers, found, strict=True):
                result[n] = dataclasses.replace(result[n], keypoints=points)
        return result

    def fit(
        self, look: Look, betas: torch.Tensor | None, flame_shape: torch.Tensor | None = None
    ) -> Fit | None:
        """Fits one frame alone; None where there is nothing to fit.

        Args:
            look: of the frame.
            betas: [S] the person's shape where it is known, which then stays.
            flame_shape: [S] FLAME's, the same.
        """
        if look.detection is None:
            return None
        try:
            if look.picture is None:
                # Of a chunk's frames some have a mask: corrected ones would differ from the others.
                return Fit(
                    self.tracker.fitter(
                        look.detection, look.mask, betas=betas, corrected=betas is None
                    )
                )
            portrait, tracker = self._portrait(look.picture, look), self.tracker
            if hasattr(tracker, "fit_parts"):
                known: dict[str, Any] = dict(betas=betas, flame_shape=flame_shape)
                if look.keypoints is not None:
                    known["keypoints"] = look.keypoints
                return Fit(*tracker.fit_parts(portrait, look.detection, **known))
            return Fit(tracker.fit(portrait, look.detection, betas=betas))  # type: ignore[attr-defined]
        except InputError:
            return None

    def _portrait(self, picture: np.ndarray, look: Look) -> Portrait:
        mask = look.mask
        if mask is None:  # of a keyframe between segmented ones
            mask = self.tracker.segmenter.probability(picture, look.detection)
        return _as_portrait(picture, mask)


def _whole(look: Look) -> Portrait:
    """Returns a look's picture with its mask, all ones where it has none."""
    assert look.picture is not None  # whoever sees keypoints is one of those that see pictures
    mask = np.ones(look.picture.shape[:2], np.float32) if look.mask is None else look.mask
    return _as_portrait(look.picture, mask)


def _as_portrait(picture: np.ndarray, mask: np.ndarray) -> Portrait:
    rgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    alpha = torch.from_numpy(np.ascontiguousarray(mask)).float()[None]
    if alpha.shape[-2:] != rgb.shape[-2:]:
        alpha = torch.nn.functional.interpolate(
            alpha[None], rgb.shape[-2:], mode="bilinear", antialias=True
        )[0]
    return Portrait(rgb, alpha)


def visibility(detection: Detection | None) -> list[float]:
    """Returns how surely each of `PART_NAMES` was seen, 0..1."""
    if detection is None:
        return [0.0] * len(PART_NAMES)
    parts = visible_parts(detection)
    return [parts[name] for name in PART_NAMES]


def small_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Returns height and width of the copy of a frame that is looked at.

    Example:
        >>> small_size(1080, 1920, 1280)
        (720, 1280)
    """
    scale = min(1.0, side / max(height, width))
    return round(height * scale), round(width * scale)


def shrunk(frame: np.ndarray, side: int) -> np.ndarray:
    """Returns the copy of a frame [H W 3] that is looked at; the frame itself if it is small."""
    size = small_size(frame.shape[0], frame.shape[1], side)
    if size == frame.shape[:2]:
        return frame
    import cv2

    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
