"""`FusedTracker`: every estimator that is at hand, chosen and fused by what the picture shows."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from presence.errors import AssetError, PresenceError
from presence.estimation.available import STANDARD, missing_file
from presence.interfaces import Estimator, Tracker
from presence.registry import ESTIMATORS, TRACKERS
from presence.structures import PartEstimate, PartModel, Portrait, Tracking
from presence.tracking.detection import Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fusing.conversion import tracking_of
from presence.tracking.fusing.cues import enlarged
from presence.tracking.fusing.dense_models import HEAD_STAGE
from presence.tracking.fusing.fusion import chosen_models, fuse
from presence.tracking.fusing.gate import framing_of, sight_of
from presence.tracking.fusing.placing import landmark_distance
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.fusing.start_refining import StartRefiner
from presence.tracking.sapiens_points import SapiensPoints
from presence_plugins.trackers.frame_keypoints import frame_keypoints
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker
from presence_plugins.trackers.picture_run import KEYPOINTS, OPEN, PictureRun

_log = logging.getLogger(__name__)
Refine = Callable[..., Tracking]
_OWN_HEAD = f"{HEAD_STAGE}the body's own head and the face points (of mediapipe's fit)"


@TRACKERS.register()
class FusedTracker(Tracker):
    """Chooses an estimator for each part by what is seen, and fuses their results.

    MediaPipe's detector sees the picture first and gives the cues; its fit stands in wherever
    no other estimator can be had, so that without any file the result is `MediaPipeTracker`'s.
    Sapiens' keypoints, with its file, take the place of MediaPipe's landmarks where they are sure.
    Orders and thresholds are those of the regime map. Every choice is in `Tracking.parts`.

    Args:
        body: the body model, built or by name.
        landmarks: landmark map for that body; None for the body's own.
        fov: degrees across the portrait's longer side that every camera is brought to (Eq. 18).
        silhouette: how much the mask shapes the body in MediaPipe's fit.
        estimators: name to config, None for `presence.estimation.available.STANDARD`; empty
            leaves MediaPipe alone. A name is the one that the regime map uses.
        regimes: file of the regime map, None for the one that ships with the project.
        device: where the networks run.
        refine: whether a start that others than MediaPipe contributed to is refined in the three
            stages of the paper; MediaPipe's own fit has done that for itself.

    Attributes:
        refiner: takes the portrait with its mask, the start, the detection (px of the working
            copy), the parts' own models, and by name whether the shape (`betas`) may change and
            `flame_shape` where it is known; returns what is better.

    Example:
        >>> tracker = TRACKERS.build(dict(type="FusedTracker", estimators={}))
        >>> tracker.fov
        20.0
    """

    def __init__(
        self,
        *,
        body: Any = "annyx",
        landmarks: str | None = None,
        fov: float = 20.0,
        silhouette: float = 1.0,
        estimators: Mapping[str, Mapping[str, Any]] | None = None,
        regimes: str | None = None,
        device: str = "cpu",
        refine: bool = True,
    ) -> None:
        self.open = MediaPipeTracker(body=body, landmarks=landmarks, fov=fov, silhouette=silhouette)
        self.body, self.fov, self.refine = self.open.body, fov, refine
        self.regimes = RegimeMap.load(regimes)
        self._configs = dict(STANDARD if estimators is None else estimators)
        self._device = device
        self._built: dict[str, Estimator] = {}
        self._lost = {
            (name, ""): reason
            for name, config in self._configs.items()
            if (reason := missing_file(config))
        }

    def __call__(self, portrait: Portrait) -> Tracking:
        """Tracks one portrait [3 H W].

        Raises:
            InputError: nobody, or nothing usable, is in the picture.
        """
        return self.track(portrait)[1]

    def track(self, portrait: Portrait) -> tuple[Portrait, Tracking]:
        """Tracks one portrait and cuts the person out; see `MediaPipeTracker.track`."""
        image, detection = self.open.detect(portrait)
        cut_out = self.open.cut_out(portrait, image, detection)
        return cut_out, self.fit(cut_out, detection)

    @property
    def others(self) -> tuple[str, ...]:
        """The estimators beside MediaPipe whose files are there; without any, its fit is all."""
        return tuple(name for name in self._configs if (name, "") not in self._lost)

    @property
    def missing(self) -> dict[str, str]:
        """The estimators that cannot be had, to the reason."""
        return {name: reason for (name, part), reason in self._lost.items() if not part}

    def fit(
        self, portrait: Portrait, detection: Detection, *, betas: torch.Tensor | None = None
    ) -> Tracking:
        """Chooses, fuses and refines; see `MediaPipeTracker.fit` for the arguments.

        Raises:
            InputError: nothing usable is in the picture.
        """
        return self.fit_parts(portrait, detection, betas=betas)[0]

    def fit_parts(
        self,
        portrait: Portrait,
        detection: Detection,
        *,
        betas: torch.Tensor | None = None,
        flame_shape: torch.Tensor | None = None,
        keypoints: SapiensPoints | None = None,
    ) -> tuple[Tracking, Mapping[str, PartModel]]:
        """Does as `fit`, and returns the models of the parts that went into it too.

        Args:
            portrait: with the person's alpha.
            detection: of the portrait or a smaller copy.
            betas: [S] the person's shape where it is known.
            flame_shape: [S] FLAME's shape of the person where it is known.
            keypoints: Sapiens', px of the detection's picture, where it has looked already.

        Returns:
            The tracking, and part to its own model as its estimator saw it, px of the portrait;
            none where MediaPipe's fit stands in.

        Raises:
            InputError: nothing usable is in the picture.
        """
        run = self._run(portrait, detection, betas, keypoints)
        start = self._fused(run)
        if run.is_open:
            return start.replace(notes=(*start.notes, _OWN_HEAD)), {}
        found = self._refined(portrait, start, run, flame_shape)
        away = self._away(found, run)
        if away <= self.regimes.agree or run.tracking is None:
            return found, run.models
        note = (
            f"not used: the fused body lies {away:.1f}% of the person's height from the landmarks, "
            f"{self.regimes.agree:.1f}% are allowed; mediapipe's fit stands in"
        )
        parts = {name: _quality(run, name, note) for name in start.parts}
        notes = (*run.tracking.notes, *run.notes, note)
        return run.tracking.replace(parts=parts, notes=notes), {}

    def _refined(
        self,
        portrait: Portrait,
        start: Tracking,
        run: PictureRun,
        flame_shape: torch.Tensor | None,
    ) -> Tracking:
        if not self.refine:
            return start
        known = {} if flame_shape is None else {"flame_shape": flame_shape}
        free = run.betas is None
        try:
            return self.refiner(portrait, start, run.detection, run.models, betas=free, **known)
        except AssetError as error:  # this body has no landmark map
            return start.replace(notes=(*start.notes, f"not refined: {error}"))

    def _away(self, tracking: Tracking, run: PictureRun) -> float:
        try:
            landmarks = run.landmarks
        except AssetError:  # nothing to compare with
            return 0.0
        return landmark_distance(
            self.body, landmarks, tracking, enlarged(run.detection, run.portrait)
        )

    @functools.cached_property
    def refiner(self) -> Refine:
        """The paper's three stages, set up when they are first needed."""
        landmarks = self.open.fitter.landmarks
        return StartRefiner(self.body, landmarks, device=self._device, regimes=self.regimes)

    @property
    def detector(self) -> Any:
        """MediaPipe's detector, for those who look at single frames."""
        return self.open.detector

    @property
    def segmenter(self) -> Any:
        """MediaPipe's segmenter."""
        return self.open.segmenter

    @property
    def fitter(self) -> Any:
        """The fit to MediaPipe's landmarks."""
        return self.open.fitter

    def segment(self, portrait: Portrait) -> torch.Tensor:
        """Returns the person's soft mask [1 H W]; see `MediaPipeTracker.segment`."""
        return self.open.segment(portrait)

    def start(self, portrait: Portrait, detection: Detection) -> Tracking:
        """Returns the fused start that a refinement takes.

        Args:
            portrait: with the person's alpha.
            detection: of `MediaPipeTracker.detect`.

        Raises:
            InputError: nothing usable is in the picture.
        """
        return self._fused(self._run(portrait, detection))

    def _run(
        self,
        portrait: Portrait,
        detection: Detection,
        betas: torch.Tensor | None = None,
        keypoints: SapiensPoints | None = None,
    ) -> PictureRun:
        return PictureRun(
            self.open,
            self.regimes,
            self.estimator,
            tuple(self._configs),
            self._lost,
            portrait,
            detection,
            betas,
            keypoints,
        )

    def _fused(self, run: PictureRun) -> Tracking:
        choices = run.choices()
        detection = run.detection
        visibility = visible_parts(detection)
        if run.is_open and run.tracking is not None:
            fused = fuse(choices, run.found, self.body, own=run.found[OPEN])
            return run.tracking.replace(parts=fused.parts, notes=(*run.tracking.notes, *run.notes))
        framing = framing_of(sight_of(detection), self.regimes)[0]
        fused = fuse(
            choices,
            run.found,
            self.body,
            framing=framing,
            own=run.found.get(OPEN),
            place=run.place(),
            betas=run.betas,
        )
        run.models = chosen_models(choices, run.seen)
        fused = fused.replace(notes=(*detection.notes, *fused.notes, *run.notes))
        return tracking_of(fused, self.body, visibility)

    def with_keypoints(self, portrait: Portrait, detection: Detection) -> tuple[Detection, str]:
        """Returns a detection joined with Sapiens' keypoints, and whose it then has.

        For views that are not fused, as from the side; see `presence.tracking.sapiens_points`.

        Args:
            portrait: with the person's alpha.
            detection: of the portrait or a smaller copy.
        """
        run = self._run(portrait, detection)
        run.join_keypoints()
        return run.detection, run.whose

    @property
    def sees_keypoints(self) -> bool:
        """Whether Sapiens' file is there, so that `frame_keypoints` can be asked."""
        return KEYPOINTS in self.others

    def frame_keypoints(
        self, portraits: Sequence[Portrait], detections: Sequence[Detection]
    ) -> list[SapiensPoints | None]:
        """Returns Sapiens' keypoints of frames [B], px of the detections' pictures.

        Args:
            portraits: [B]; see `frame_keypoints` of the module of that name.
            detections: [B] of the portraits or smaller copies.

        Returns:
            [B], None where it finds nothing, and everywhere once it cannot be used.
        """
        if (KEYPOINTS, "") in self._lost:
            return [None] * len(portraits)
        try:
            return frame_keypoints(self.estimator(KEYPOINTS), portraits, detections)
        except PresenceError as error:
            _log.warning("%s cannot be used: %s", KEYPOINTS, error)
            self._lost[KEYPOINTS, ""] = str(error)
            return [None] * len(portraits)

    def estimator(self, name: str) -> Estimator:
        """Returns an estimator, built when it is first needed.

        Raises:
            PresenceError: its file or a package is missing.
        """
        if name not in self._built:
            self._built[name] = ESTIMATORS.build(self._configs[name], device=self._device)
        return self._built[name]


def _quality(run: PictureRun, part: str, reason: str) -> PartEstimate:
    """Returns what MediaPipe's own estimate says of a part, with another reason."""
    return dataclasses.replace(run.found[OPEN].parts[part], reason=reason)
