"""`FusedTracker`: every estimator that is at hand, chosen and fused by what the picture shows."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from presence.errors import AssetError, InputError, PresenceError
from presence.estimation.available import STANDARD, missing_file
from presence.interfaces import Estimator, Tracker
from presence.registry import ESTIMATORS, TRACKERS
from presence.structures import (
    BodyParams,
    Camera,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
    Tracking,
)
from presence.tracking.conversion import space_of, tracking_of
from presence.tracking.cues import cues_of, enlarged, nearest
from presence.tracking.detection import Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fusion import MADE_BY, RELAXED, canonical, fuse
from presence.tracking.gate import Choice, choose, framing_of, sight_of
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.placing import placed
from presence.tracking.regimes import RegimeMap
from presence.tracking.start_refining import StartRefiner
from presence_plugins.trackers.mediapipe_estimator import MediaPipeEstimator
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker

_log = logging.getLogger(__name__)
OPEN = "mediapipe"
KEYPOINTS = "sapiens_pose"
Refine = Callable[[Portrait, Tracking, Detection, Mapping[str, PartModel]], Tracking]


@TRACKERS.register()
class FusedTracker(Tracker):
    """Chooses an estimator for each part by what is seen, and fuses their results.

    MediaPipe's detector sees the picture first and gives the cues; its fit stands in wherever
    no other estimator can be had, so that without any file the result is `MediaPipeTracker`'s.
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
            copy) and the parts' own models, and returns what is better.

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
        run = _Run(self, cut_out, detection)
        start = self._fused(run)
        if {part.source for part in start.parts.values()} <= {OPEN, RELAXED}:
            return cut_out, start
        found = self._refined(cut_out, start, run)
        away = self._away(found, enlarged(detection, portrait))
        if away <= self.regimes.agree or run.tracking is None:
            return cut_out, found
        note = (
            f"not used: the fused body lies {away:.1f}% of the person's height from the landmarks, "
            f"{self.regimes.agree:.1f}% are allowed; mediapipe's fit stands in"
        )
        parts = {name: _quality(run, name, note) for name in start.parts}
        notes = (*run.tracking.notes, *run.notes, note)
        return cut_out, run.tracking.replace(parts=parts, notes=notes)

    def _refined(self, portrait: Portrait, start: Tracking, run: _Run) -> Tracking:
        if not self.refine:
            return start
        try:
            return self.refiner(portrait, start, run.detection, run.models)
        except AssetError as error:  # this body has no landmark map
            return start.replace(notes=(*start.notes, f"not refined: {error}"))

    def _away(self, tracking: Tracking, detection: Detection) -> float:
        """Returns the landmarks' mean distance in % of the person's height, 0 without a map."""
        points = detection.keypoints.get("pose")
        try:
            landmarks = self.open.fitter.landmarks
        except AssetError:
            return 0.0
        sure = torch.zeros(0) if points is None else (points[:, 2] > 0.5) & detection.inside(points)
        if points is None or int(sure.sum()) < 2:
            return 0.0
        with torch.no_grad():
            mesh = self.body(tracking.body)
            px, _ = tracking.camera.project(landmarks.points(self.body, "pose", mesh))
        seen = points[sure, :2]
        height = float((seen.amax(0) - seen.amin(0)).max())
        return 100 * float((px[sure] - seen).norm(dim=-1).mean()) / max(height, 1.0)

    @functools.cached_property
    def refiner(self) -> Refine:
        """The paper's three stages, set up when they are first needed."""
        return StartRefiner(self.body, self.open.fitter.landmarks, device=self._device)

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
        return self._fused(_Run(self, portrait, detection))

    def _fused(self, run: _Run) -> Tracking:
        detection = run.detection
        choices = run.choices()
        visibility = visible_parts(detection)
        if {choice.estimator for choice in choices} <= {OPEN, ""} and run.tracking is not None:
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
        )
        run.models = fused.models
        fused = fused.replace(notes=(*detection.notes, *fused.notes, *run.notes))
        return tracking_of(fused, self.body, visibility)

    def estimator(self, name: str) -> Estimator:
        """Returns an estimator, built when it is first needed.

        Raises:
            PresenceError: its file or a package is missing.
        """
        if name not in self._built:
            config = {**self._configs[name]}
            if name == OPEN:
                self._built[name] = MediaPipeEstimator(tracker=self.open)
            else:
                self._built[name] = ESTIMATORS.build(config, device=self._device)
        return self._built[name]


def _quality(run: _Run, part: str, reason: str) -> PartEstimate:
    """Returns what MediaPipe's own estimate says of a part, with another reason."""
    return dataclasses.replace(run.found[OPEN].parts[part], reason=reason)


class _Run:
    """One picture's choices: estimators run when they are chosen, and may turn out not to do.

    Attributes:
        found: name to estimate, in the canonical camera.
        tracking: MediaPipe's own, once it ran.
        notes: one line a choice.
        models: of the parts that were fused.
    """

    def __init__(self, tracker: FusedTracker, portrait: Portrait, detection: Detection) -> None:
        self.tracker, self.portrait, self.detection = tracker, portrait, detection
        self.found: dict[str, Estimate] = {}
        self.tracking: Tracking | None = None
        self.notes: list[str] = []
        self.models: Mapping[str, PartModel] = {}
        known = {rule.estimator for rule in _rules(tracker.regimes)}
        unset = known - set(tracker._configs) - {OPEN}
        self.refused = {(name, ""): "it is not configured" for name in unset} | tracker._lost
        self.cues = cues_of(detection, portrait)

    def choices(self) -> tuple[Choice, ...]:
        """Returns the choices whose estimators all ran and hold for their parts."""
        sight = sight_of(self.detection)
        self._open()
        self._keypoints()
        while True:
            choices = choose(sight, self.tracker.regimes, self.refused)
            before = len(self.refused)
            for choice in choices:
                if choice.estimator:
                    self._use(choice)
            if len(self.refused) == before:
                self.notes = [f"{c.part}: {c.reason}" for c in choices]
                base = self.found.get(choices[0].estimator)
                if base is not None and not any("Eq. 18" in note for note in base.notes):
                    fov = f"{self.tracker.fov:.1f} degrees across the longer side"
                    self.notes.append(f"camera: {base.estimator}'s has {fov} already (Eq. 18)")
                return choices

    def place(self) -> Callable[[BodyParams, Camera], torch.Tensor] | None:
        """Returns what places the body by its landmarks, None where the body has no map."""
        try:
            landmarks = self._landmarks
        except AssetError:
            return None
        detection = enlarged(self.detection, self.portrait)

        def place(params: BodyParams, camera: Camera) -> torch.Tensor:
            return placed(self.tracker.body, params, camera.K, landmarks, detection)

        return place

    @functools.cached_property
    def _landmarks(self) -> LandmarkMap:
        return self.tracker.open.fitter.landmarks

    def _open(self) -> None:
        """Fits to MediaPipe's landmarks: the shape is that of our own body in any case."""
        estimator = self.tracker.estimator(OPEN) if OPEN in self.tracker._built else None
        try:
            self.tracking = self.tracker.open.fit(self.portrait, self.detection)
        except AssetError as error:
            self.refused[OPEN, ""] = str(error)
            return
        estimator = estimator or MediaPipeEstimator(tracker=self.tracker.open)
        assert isinstance(estimator, MediaPipeEstimator)
        self.found[OPEN] = canonical(estimator.estimate(self.tracking), self.tracker.fov)

    def _keypoints(self) -> None:
        """Adds Sapiens' points to the cues where its file is there; hands only where unseen."""
        if KEYPOINTS not in self.tracker._configs or (KEYPOINTS, "") in self.refused:
            return
        estimate = self._run(KEYPOINTS)
        if estimate is not None:
            self.cues.keypoints.update(
                {k: v for k, v in estimate.keypoints.items() if k not in self.cues.keypoints}
            )

    def _use(self, choice: Choice) -> None:
        name = choice.estimator
        if (name, "") in self.refused:
            return
        estimate = self.found.get(name) or self._run(name)
        if estimate is None:
            return
        for part in MADE_BY[choice.part]:
            if part == "lower" or name == OPEN:
                continue  # unseen legs are relaxed; MediaPipe's fit holds what it does not see
            quality = estimate.parts.get(part)
            if quality is None and choice.part == "head" and "face" in estimate.models:
                quality = estimate.parts["face"]
            if quality is None or not quality.valid:
                why = "it does not estimate it" if quality is None else quality.reason
                self.refused[name, choice.part] = why
        space = space_of(self.tracker.body)
        if choice.part == "face" and estimate.expression_space not in ("", space):
            self.refused[name, "face"] = (
                f"its expressions are {estimate.expression_space}'s, and the body takes {space}'s"
            )

    def _run(self, name: str) -> Estimate | None:
        """Runs an estimator; None, and a reason why it is refused, where it finds nothing."""
        try:
            start = self._run("emica") if self._starts_from_emica(name) else None
            if start is not None:
                self.cues.models.update(start.models)
            estimates = self.tracker.estimator(name)(self.portrait, self.cues)
        except PresenceError as error:
            if not isinstance(error, InputError):
                _log.warning("%s cannot be used: %s", name, error)
            self.refused[name, ""] = str(error)
            return None
        person = nearest(estimates, self.cues)
        if person is None:
            self.refused[name, ""] = "it found nobody"
            return None
        self.found[name] = canonical(person, self.tracker.fov)
        return self.found[name]

    def _starts_from_emica(self, name: str) -> bool:
        usable = "emica" in self.tracker._configs and ("emica", "") not in self.refused
        return name == "flame" and usable and "emica" not in self.found


def _rules(regimes: RegimeMap) -> list[Any]:
    return [r for groups in regimes.order.values() for rules in groups.values() for r in rules]
