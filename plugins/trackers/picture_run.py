"""`PictureRun`: which estimators one picture's parts come from, found by running them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch

from presence.errors import AssetError, InputError, PresenceError
from presence.interfaces import Estimator
from presence.structures import BodyParams, Camera, Estimate, PartModel, Portrait, Tracking
from presence.tracking.detection import Detection
from presence.tracking.fusing.conversion import space_of
from presence.tracking.fusing.cues import cues_of, enlarged, keypoints_of, nearest
from presence.tracking.fusing.fusion import MADE_BY, canonical
from presence.tracking.fusing.gate import Choice, choose, sight_of
from presence.tracking.fusing.placing import placed
from presence.tracking.fusing.regimes import RegimeMap, Rule
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.sapiens_points import (
    HANDS,
    WHOSE,
    SapiensPoints,
    landmarks_of,
    whose_keypoints,
)
from presence_plugins.trackers.mediapipe_estimator import MediaPipeEstimator
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker

_log = logging.getLogger(__name__)
OPEN = "mediapipe"
KEYPOINTS = "sapiens_pose"


class PictureRun:
    """One picture's choices: estimators run when they are chosen, and may turn out not to do.

    Attributes:
        found: name to estimate, in the canonical camera.
        tracking: MediaPipe's own, once it ran.
        notes: one line a choice.
        seen: name to the part models as the estimator saw them, before the canonical camera.
        models: of the parts that were fused, as they were seen.
        is_open: whether all choices are MediaPipe's, once they were made.
        detection: MediaPipe's, joined with Sapiens' keypoints once that ran.
        whose: the line that says whose keypoints those are; empty where Sapiens is not configured.

    Args:
        open_tracker: MediaPipe's, whose fit stands in for what cannot be had.
        regimes: thresholds and orders.
        estimator: builds an estimator of a name, or raises `PresenceError`.
        names: of the estimators that are configured.
        lost: (name, "") to the reason why an estimator cannot be had.
        portrait: with the person's alpha.
        detection: of the portrait or a smaller copy.
        betas: [S] the person's shape where it is known.
        keypoints: Sapiens', px of the detection's picture, where it has looked already.
    """

    def __init__(
        self,
        open_tracker: MediaPipeTracker,
        regimes: RegimeMap,
        estimator: Callable[[str], Estimator],
        names: tuple[str, ...],
        lost: Mapping[tuple[str, str], str],
        portrait: Portrait,
        detection: Detection,
        betas: torch.Tensor | None = None,
        keypoints: SapiensPoints | None = None,
    ) -> None:
        self.betas = betas
        self.open, self.regimes, self.estimator, self.names = (
            open_tracker,
            regimes,
            estimator,
            names,
        )
        self.body, self.fov = open_tracker.body, open_tracker.fov
        self.portrait, self.detection = portrait, detection
        self.found: dict[str, Estimate] = {}
        self.seen: dict[str, Mapping[str, PartModel]] = {}
        self.tracking: Tracking | None = None
        self.notes: list[str] = []
        self.is_open = False
        self.whose = ""
        self.models: Mapping[str, PartModel] = {}
        known = {rule.estimator for rule in _rules(regimes)}
        unset = known - set(names) - {OPEN}
        self.refused = {(name, ""): "it is not configured" for name in unset} | dict(lost)
        self.cues = cues_of(detection, portrait)
        self._first = detection
        self._known = keypoints
        self._sapiens: SapiensPoints | None = None

    @property
    def landmarks(self) -> LandmarkMap:
        """Where this picture's landmarks lie on the body.

        Raises:
            AssetError: the body has no map.
        """
        return landmarks_of(self.open.fitter.landmarks, self.detection)

    def choices(self) -> tuple[Choice, ...]:
        """Returns the choices whose estimators all ran and hold for their parts."""
        self.join_keypoints()
        sight = sight_of(self.detection)
        self._open()
        while True:
            choices = choose(sight, self.regimes, self.refused)
            before = len(self.refused)
            for choice in choices:
                if choice.estimator:
                    self._use(choice)
            if len(self.refused) == before:
                self.notes = [f"{c.part}: {c.reason}" for c in choices]
                self.is_open = {c.estimator for c in choices} <= {OPEN, ""}
                base = self.found.get(choices[0].estimator)
                if base is not None and not any("Eq. 18" in note for note in base.notes):
                    fov = f"{self.fov:.1f} degrees across the longer side"
                    self.notes.append(f"camera: {base.estimator}'s has {fov} already (Eq. 18)")
                if self.whose:
                    self.notes.append(self.whose)
                return choices

    def place(self) -> Callable[[BodyParams, Camera], torch.Tensor] | None:
        """Returns what places the body by its landmarks, None where the body has no map."""
        try:
            landmarks = self.landmarks
        except AssetError:
            return None
        detection = enlarged(self.detection, self.portrait)

        def place(params: BodyParams, camera: Camera) -> torch.Tensor:
            return placed(self.body, params, camera.K, landmarks, detection)

        return place

    def _open(self) -> None:
        """Fits to the landmarks: the shape is that of our own body in any case."""
        points = {} if self._sapiens is None else {"sapiens": self._sapiens}
        try:
            self.tracking = self.open.fit(self.portrait, self._first, betas=self.betas, **points)
        except AssetError as error:
            self.refused[OPEN, ""] = str(error)
            return
        found = MediaPipeEstimator(tracker=self.open).estimate(self.tracking)
        self.found[OPEN] = canonical(found, self.fov)

    def join_keypoints(self) -> None:
        """Lets Sapiens' sure keypoints take the place of MediaPipe's, where its file is there.

        From then on they are what the gate, the fit, the refinement and the estimators' cues have.
        """
        if KEYPOINTS not in self.names:
            return
        height, width = self.portrait.size
        scale = torch.tensor([self._first.width / width, self._first.height / height])
        found = self._sapiens_keypoints(scale)
        if found is None:
            self.whose = f"{WHOSE}mediapipe's; not {KEYPOINTS} ({self.refused[KEYPOINTS, '']})"
            return
        self._sapiens = SapiensPoints.of(found, scale)
        self.detection = self._sapiens.join(self._first)
        self.whose = whose_keypoints(self.detection)
        self.cues.keypoints.clear()
        self.cues.keypoints.update(found)
        for name in HANDS:  # those that are too unsure to count are no cue
            self.cues.keypoints.pop(name, None)
        self.cues.keypoints.update(keypoints_of(self.detection, self.portrait))

    def _sapiens_keypoints(self, scale: torch.Tensor) -> Mapping[str, torch.Tensor] | None:
        """Returns its keypoints, px of the portrait; None where it cannot be had.

        Args:
            scale: [2] pixels of the detection's picture over the portrait's.
        """
        if self._known is not None:
            return self._known.keypoints(1 / scale)
        estimate = None if (KEYPOINTS, "") in self.refused else self._run(KEYPOINTS)
        return None if estimate is None else estimate.keypoints

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
        space = space_of(self.body)
        if choice.part == "face" and estimate.expression_space not in ("", space):
            self.refused[name, "face"] = (
                f"its expressions are {estimate.expression_space}'s, and the body takes {space}'s"
            )

    def _run(self, name: str) -> Estimate | None:
        """Runs an estimator; None, and a reason why it is refused, where it finds nothing."""
        try:
            if name == "flame":
                self._start_from_emica()
            estimates = self.estimator(name)(self.portrait, self.cues)
        except PresenceError as error:
            if not isinstance(error, InputError):
                _log.warning("%s cannot be used: %s", name, error)
            self.refused[name, ""] = str(error)
            return None
        person = nearest(estimates, self.cues)
        if person is None:
            self.refused[name, ""] = "it found nobody"
            return None
        self.seen[name] = person.models
        self.found[name] = canonical(person, self.fov)
        return self.found[name]

    def _start_from_emica(self) -> None:
        """Gives FLAME's tracking the shape, expression and jaw of EMICA where it can be had."""
        if "emica" not in self.names or ("emica", "") in self.refused:
            return
        start = self.found.get("emica") or self._run("emica")
        if start is not None and start.parts["face"].valid:
            self.cues.models.update(start.models)


def _rules(regimes: RegimeMap) -> list[Rule]:
    return [r for groups in regimes.order.values() for rules in groups.values() for r in rules]
