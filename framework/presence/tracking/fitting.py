"""`BodyFitter`: landmarks and mask of one person to body parameters and camera, in stages."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.joints import JOINT_NAMES, LEFT_HAND, RIGHT_HAND
from presence.errors import InputError
from presence.structures import Camera, Tracking, focal_from_fov
from presence.tracking.consistency import consistent
from presence.tracking.detection import POSE, Detection
from presence.tracking.evidence import SEEN, joint_strength, visible_parts
from presence.tracking.initial_pose import initial_pose
from presence.tracking.landmark_correction import LandmarkCorrection
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.objective import Emphasis, FitObjective
from presence.tracking.reaching import reach
from presence.tracking.rig import Active, FitState
from presence.tracking.silhouette import SilhouetteTarget
from presence.tracking.solver import minimize
from presence.tracking.terms import PinholeView

_BODY_BETAS = 20  # the leading coefficients that shape the body rather than the face
_FIRM = 8.0  # standard deviations to which landmarks are believed against a mask that pulls


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Settings of the fit.

    Attributes:
        fov: degrees across the picture's longer side. A single picture does not tell its field
            of view; 20 degrees is the canonical one of the whole method.
        silhouette: weight of the mask, 0 to ignore it.
        iterations: at most so many solver steps in each stage.
    """

    fov: float = 20.0
    silhouette: float = 1.0
    iterations: int = 20


class BodyFitter:
    """Fits a body model to what a detector saw.

    Args:
        body: the model.
        landmarks: where the detector's landmarks lie on it.
        options: settings.
        correction: of the detector's landmarks on clothed people, used where there is a mask;
            None to take them as they are.
    """

    def __init__(
        self,
        body: Body,
        landmarks: LandmarkMap,
        options: FitOptions | None = None,
        correction: LandmarkCorrection | None = None,
    ) -> None:
        self.body = body
        self.landmarks = landmarks
        self.options = options or FitOptions()
        self.correction = correction

    def __call__(
        self,
        detection: Detection,
        alpha: np.ndarray | None = None,
        *,
        betas: Tensor | None = None,
        corrected: bool = True,
    ) -> Tracking:
        """Fits one person.

        Args:
            detection: landmarks, px.
            alpha: the person's mask [H W] in 0..1, of any size with the picture's shape; None to
                fit landmarks alone.
            betas: [S] the person's shape where it is known, which then stays.
            corrected: whether the correction, where there is one, is used.

        Raises:
            InputError: too few landmarks are confident to place a body.
        """
        with torch.no_grad(), _one_thread():
            return self._fit(
                consistent(detection), alpha, betas, self.correction if corrected else None
            )

    def _fit(
        self,
        detection: Detection,
        alpha: np.ndarray | None,
        betas: Tensor | None,
        correction: LandmarkCorrection | None,
    ) -> Tracking:
        parts = visible_parts(detection)
        view, seen = self._view(detection), detection
        mask = None if alpha is None else SilhouetteTarget(_resized(alpha, detection))
        if mask is not None and correction is not None:
            detection = correction(detection, mask)
        outline = mask if self.options.silhouette > 0 else None
        objective = FitObjective(self.body, self.landmarks, detection, view, outline)
        objective.pose_strength = joint_strength(detection, parts).double()
        objective.shape_known = betas is not None
        state = self._initial_state(objective, detection, betas)
        for stage in (self._place, self._pose, self._face, self._hands, self._outline, self._all):
            state = stage(objective, state, parts)
        return self._tracking(state, seen, view, parts)

    def _view(self, detection: Detection) -> PinholeView:
        focal = focal_from_fov(self.options.fov, max(detection.width, detection.height))
        centre = torch.tensor([detection.width / 2, detection.height / 2], dtype=torch.float64)
        return PinholeView(focal, centre)

    def _initial_state(
        self, objective: FitObjective, detection: Detection, betas: Tensor | None
    ) -> FitState:
        """Poses the body as the bones point, and places it by the landmarks' extent."""
        params = self.body.default_params()
        if betas is not None:
            params = params.replace(betas=betas.to(params.betas))
        state = FitState.from_params(params.replace(pose=initial_pose(detection)))
        points = objective.rig.evaluate(state).points
        weights = objective.weights / objective.sigma.square()
        names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
        usable = torch.zeros_like(weights)
        if "pose" in objective.rows:  # limbs may be anywhere yet
            usable[[objective.rows["pose"].start + POSE[n] for n in names]] = 1.0
        if "face" in objective.rows:
            usable[objective.rows["face"]] = 1.0
        weights = weights * usable
        if float((weights > 0).sum()) < 2:
            raise InputError("too little of the person is seen to place a body in the picture")
        translation = _weak_perspective(points, objective.target, weights, objective.view)
        return dataclasses.replace(state, translation=translation)

    def _place(self, objective: FitObjective, state: FitState, parts: dict[str, float]) -> FitState:
        sets = {"face": 0.05, "pose": 1.0}
        if parts["upper"] < SEEN:
            active = Active(_joints("neck", "head"))
        else:
            active = Active(_joints("pelvis", "neck", "head"))
        return self._solve(objective, state, active, Emphasis(sets, robust=40.0))

    def _pose(self, objective: FitObjective, state: FitState, parts: dict[str, float]) -> FitState:
        if parts["upper"] < SEEN:
            return state
        active = Active(tuple(range(22)), betas=tuple(range(10)))
        sets = {"face": 0.2, "pose": 1.0, "left_hand": 0.2, "right_hand": 0.2}
        for side in ("left", "right"):
            if f"{side}_hand" in objective.rows:
                state = reach(objective, state, side)
        state = self._solve(objective, state, active, Emphasis(sets, directions=4.0, robust=20.0))
        return self._solve(objective, state, active, Emphasis(sets, directions=1.0))

    def _face(self, objective: FitObjective, state: FitState, parts: dict[str, float]) -> FitState:
        if "face" not in objective.rows:
            return state
        names = ["spine3", "neck", "head", "jaw", "left_eye", "right_eye"]
        joints = tuple(range(25)) if parts["upper"] >= SEEN else _joints(*names)
        active = Active(
            joints,
            betas=tuple(range(self.body.num_betas)),
            expression=tuple(range(self.body.num_expression)),
        )
        sets = {"face": 1.0, "pose": 1.0, "left_hand": 0.2, "right_hand": 0.2}
        return self._solve(objective, state, active, Emphasis(sets))

    def _hands(self, objective: FitObjective, state: FitState, parts: dict[str, float]) -> FitState:
        for side, fingers in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
            name = f"{side}_hand"
            if name not in objective.rows:
                continue
            arm = _joints(f"{side}_elbow", f"{side}_wrist")
            sets = {"pose": 1.0, name: 1.0}
            wrist = Active(arm, translation=False)
            state = self._solve(objective, state, wrist, Emphasis(sets, 4.0, robust=10.0))
            hand = Active((*arm, *range(fingers.start, fingers.stop)), translation=False)
            state = self._solve(objective, state, hand, Emphasis(sets, 1.0))
        return state

    def _outline(
        self, objective: FitObjective, state: FitState, parts: dict[str, float]
    ) -> FitState:
        if objective.silhouette is None or parts["upper"] < SEEN:
            return state
        active = Active(tuple(range(22)), betas=tuple(range(self.body.num_betas)))
        sets = dict.fromkeys(objective.rows, 1.0)
        emphasis = Emphasis(sets, silhouette=self.options.silhouette, robust=_FIRM)
        for _ in range(3):
            state = self._solve(objective, state, active, emphasis, iterations=5)
        return state

    def _all(self, objective: FitObjective, state: FitState, parts: dict[str, float]) -> FitState:
        hands = [
            index
            for side, fingers in (("left", LEFT_HAND), ("right", RIGHT_HAND))
            if f"{side}_hand" in objective.rows
            for index in range(fingers.start, fingers.stop)
        ]
        body = tuple(range(25)) if parts["upper"] >= SEEN else _joints("neck", "head", "jaw")
        active = Active(
            (*body, *hands),
            betas=tuple(range(self.body.num_betas)),
            expression=tuple(range(self.body.num_expression)) if "face" in objective.rows else (),
        )
        silhouette = self.options.silhouette if parts["upper"] >= SEEN else 0.0
        sets = dict.fromkeys(objective.rows, 1.0)
        emphasis = Emphasis(sets, silhouette=silhouette, robust=_FIRM)
        return self._solve(objective, state, active, emphasis, iterations=8)

    def _solve(
        self,
        objective: FitObjective,
        state: FitState,
        active: Active,
        emphasis: Emphasis,
        iterations: int | None = None,
    ) -> FitState:
        objective.prepare(state, emphasis)
        if objective.shape_known:
            active = dataclasses.replace(active, betas=())
        steps = iterations or self.options.iterations
        return minimize(objective, state, active, iterations=steps)

    def _tracking(
        self, state: FitState, detection: Detection, view: PinholeView, parts: dict[str, float]
    ) -> Tracking:
        """Puts the person at the world's origin; the camera keeps the distance."""
        params = state.to_params()
        pose = torch.zeros(4, 4)
        pose[[0, 1, 2, 3], [0, 1, 2, 3]] = torch.tensor([1.0, -1.0, -1.0, 1.0])
        pose[:3, 3] = torch.tensor([1.0, -1.0, -1.0]) * params.translation
        K = torch.tensor([[view.focal, 0, 0], [0, view.focal, 0], [0, 0, 1]]).float()
        K[:2, 2] = view.centre.float()
        return Tracking(
            body=params.replace(translation=torch.zeros(3)),
            camera=Camera(K, pose, detection.width, detection.height),
            visibility=parts,
            keypoints=dict(detection.keypoints),
            notes=(*detection.notes, *_part_notes(parts)),
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Works on one thread: thousands of small products lose more by waiting than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _part_notes(parts: dict[str, float]) -> list[str]:
    notes = []
    if parts["upper"] < SEEN:
        notes.append("only the head was seen: the body keeps its relaxed pose")
    elif parts["lower"] < SEEN:
        notes.append("legs not seen: they keep their relaxed pose")
    for side in ("left", "right"):
        if parts[f"{side}_hand"] <= 0 and parts["upper"] >= SEEN:
            notes.append(f"{side} hand not seen clearly: its fingers stay relaxed")
    return notes


def _joints(*names: str) -> tuple[int, ...]:
    return tuple(JOINT_NAMES.index(name) for name in names)


def _weak_perspective(points: Tensor, target: Tensor, weights: Tensor, view: PinholeView) -> Tensor:
    """Returns the translation [3] that best puts points [N 3] on target [N 2] px."""
    flat = points[:, :2] * points.new_tensor([1.0, -1.0])
    share = (weights / weights.sum())[:, None]
    mean, aim = (share * flat).sum(0), (share * target).sum(0)
    extent = (share * (flat - mean).square()).sum().sqrt()
    scale = (share * (target - aim).square()).sum().sqrt() / extent.clamp_min(1e-6)  # px for a m
    depth = view.focal / scale
    offset = (aim - view.centre) / scale - mean
    middle = (share[:, 0] * points[:, 2]).sum()
    return torch.stack([offset[0], -offset[1], -depth - middle])


def _resized(alpha: np.ndarray, detection: Detection) -> np.ndarray:
    """Brings a mask to the detection's picture size, which its distances are measured in."""
    if alpha.shape == (detection.height, detection.width):
        return alpha
    import cv2

    size = (detection.width, detection.height)
    return cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)
