"""`FitObjective`: all that is known about one person, as the terms of a least-squares problem."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.bodies import Body
from presence.geometry import vertex_normals
from presence.tracking.body_facts import (
    expression_scale,
    outline_vertices,
    rest_normals,
    shape_prior,
)
from presence.tracking.detection import LANDMARK_SETS, POSE, SET_SIZES, Detection
from presence.tracking.evidence import (
    DIRECTIONS,
    UNSURE,
    arm_confidence,
    bone_weights,
    detected_sigmas,
    keypoint_weights,
)
from presence.tracking.initial_pose import hanging_direction
from presence.tracking.landmarks import LandmarkMap, PointRig
from presence.tracking.relaxed import JOINT, joint_limits, pose_sigma, relaxed_pose
from presence.tracking.rig import Active, FitRig, FitState, RigPoints
from presence.tracking.silhouette import SilhouetteTarget
from presence.tracking.solver import Term
from presence.tracking.terms import (
    PinholeView,
    bound_term,
    coefficient_term,
    direction_term,
    joint_limit_term,
    keypoint_term,
    pose_prior_term,
)

_HAND_BONES = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, 21))
_REACH = 0.1  # m, how far clothes may stand off the body
_HANGING_SIGMA = 0.3  # rad from hanging of a forearm that is not seen
_UNPLACED = 4.0  # times the weight where no landmark says where elbow or wrist is instead
_HAIR_RADIUS = 0.2  # m about the head's middle


@dataclasses.dataclass(frozen=True)
class Emphasis:
    """How much a stage listens to each kind of evidence (factors on the weights).

    Attributes:
        sets: landmark set to factor.
        directions: of the metric bone directions.
        silhouette: of the mask.
        robust: residual, in standard deviations, from which landmarks count as outliers.
    """

    sets: dict[str, float]
    directions: float = 1.0
    silhouette: float = 0.0
    robust: float = 4.0


class FitObjective:
    """Landmarks, bone directions, mask and priors of one person.

    Args:
        body: the model.
        landmarks: where the detector's landmarks lie on it.
        detection: what was detected.
        view: the camera.
        alpha: the mask's distances, or None to do without.
    """

    def __init__(
        self,
        body: Body,
        landmarks: LandmarkMap,
        detection: Detection,
        view: PinholeView,
        silhouette: SilhouetteTarget | None = None,
    ) -> None:
        self.view, self.silhouette = view, silhouette
        names = [name for name in LANDMARK_SETS if name in detection.keypoints]
        self.rig = FitRig(
            body, PointRig.concatenate([landmarks.anchors(body, name) for name in names])
        )
        self.rows, start = {}, 0
        for name in names:
            self.rows[name] = slice(start, start + SET_SIZES[name])
            start += SET_SIZES[name]
        self.target = torch.cat([detection.keypoints[n][:, :2] for n in names]).double()
        weights = keypoint_weights(detection)
        self.weights = torch.cat([weights[n] for n in names]).double()
        sigmas = [detected_sigmas(detection, n, landmarks.sets[n].spread) for n in names]
        self.sigma = torch.cat(sigmas).double()  # m
        self.normals = rest_normals(body, landmarks)
        self.body = body
        self.outline_vertices = outline_vertices(body)
        self.outline = FitRig(body, PointRig.of_vertices(body, self.outline_vertices))
        self.head = FitRig(body, PointRig.of_vertices(body, body.vertex_parts["head"][::40]))
        self._set_directions(detection)
        self._set_priors(body)
        self.emphasis = Emphasis({name: 1.0 for name in names})
        self.pairs: tuple[Tensor, Tensor] | None = None
        self.shape_known = False
        self.metres = 1.0
        self.factors = torch.ones_like(self.weights)
        self.facing = torch.ones_like(self.weights)

    def _set_directions(self, detection: Detection) -> None:
        starts, ends, targets, weights = [], [], [], []
        flip = torch.tensor([1.0, -1.0, -1.0])  # from the picture's axes to the world's
        for name, pairs, world in metric_bones(detection):
            offset = self.rows[name].start
            for first, second in pairs:
                starts.append(offset + first)
                ends.append(offset + second)
                bone = (world[second] - world[first]) * flip
                targets.append(torch.nn.functional.normalize(bone, dim=0))
            weights.append(bone_weights(detection, name, pairs, self.weights[self.rows[name]]))
        count = len(self.rig)
        self.starts = _one_hot(starts, count)
        self.ends = _one_hot(ends, count)
        self.bone_targets = torch.stack(targets).double() if targets else torch.zeros(0, 3).double()
        self.bone_weights = torch.cat(weights) if weights else torch.zeros(0).double()
        self._set_hanging(detection)

    def _set_hanging(self, detection: Detection) -> None:
        """Forearms of which nothing was seen hang: hands that are hidden are mostly down."""
        sides = [
            side
            for side in ("left", "right")
            if "pose" in self.rows
            and f"{side}_hand" not in self.rows
            and arm_confidence(detection, f"{side}_wrist") < UNSURE
        ]
        start = self.rows["pose"].start if sides else 0
        rows = [[start + POSE[f"{s}_{part}"] for s in sides] for part in ("elbow", "wrist")]
        self.hanging = _one_hot(rows[0], len(self.rig)), _one_hot(rows[1], len(self.rig))
        self.hanging_targets = hanging_direction(detection).double().expand(len(sides), 3)
        placed = (self.weights[rows[0]] > 0) | (self.weights[rows[1]] > 0)
        self.hanging_weights = torch.where(placed, 1.0, _UNPLACED).double()

    def _set_priors(self, body: Body) -> None:
        self.pose_mean, self.pose_sigma = relaxed_pose().double(), pose_sigma().double()
        self.limits = joint_limits().double()
        self.pose_strength = torch.ones(len(self.pose_mean), dtype=torch.float64)
        self.beta_mean, self.beta_scale = shape_prior(body)
        self.expression_scale = expression_scale(body)

    def prepare(self, state: FitState, emphasis: Emphasis) -> None:
        """Fixes, before a stage, everything that must not change while it is solved."""
        self.emphasis = emphasis
        rig = self.rig.evaluate(state)
        _, _, depth = self.view.project(rig)
        used = self.weights > 0
        self.metres = float(depth[used].mean()) / self.view.focal  # m for one px
        self.factors = torch.zeros_like(self.weights)
        for name, rows in self.rows.items():
            self.factors[rows] = emphasis.sets.get(name, 0.0)
        if "face" in self.rows:
            self.facing[self.rows["face"]] = self._face_visibility(rig)
        self.pairs = None
        if self.silhouette is not None and emphasis.silhouette > 0:
            self.pairs = self._outline_pairs(state, self.silhouette)

    def _outline_pairs(
        self, state: FitState, silhouette: SilhouetteTarget
    ) -> tuple[Tensor, Tensor]:
        """Mask contour points and the body points that should lie on them."""
        px, _, _ = self.view.project(self.outline.evaluate(state))
        mesh = self.body(state.to_params())
        normals = vertex_normals(mesh.vertices, self.body.topology.faces)[self.outline_vertices]
        normals = normals.double() * torch.tensor([1.0, -1.0, -1.0])
        avoid = self._head_circle(state)
        return silhouette.pair(px, normals, _REACH / self.metres, 200, avoid)

    def _head_circle(self, state: FitState) -> tuple[Tensor, float]:
        """Centre (px) and radius (px) of what may be hair, where the mask says nothing."""
        head = self.head.evaluate(state)
        px, _, _ = self.view.project(head)
        return px.mean(0), _HAIR_RADIUS / self.metres

    def _face_visibility(self, rig: RigPoints) -> Tensor:
        """Facial landmarks that look away from the camera are the detector's guesses."""
        turned = self.normals @ rig.joint_rotations[JOINT["head"]].T
        sight = torch.nn.functional.normalize(-rig.points[self.rows["face"]], dim=-1)
        cosine = (turned * sight).sum(-1)
        return ((cosine + 0.05) / 0.3).clamp(0.05, 1.0)

    def __call__(self, state: FitState, active: Active | None) -> list[Term]:
        """Returns the terms, with derivatives unless `active` is None."""
        rig = self.rig.evaluate(state, active)
        px, jacobian, _ = self.view.project(rig)
        terms = [
            keypoint_term(
                px,
                jacobian,
                self.target,
                self.weights * self.factors * self.facing,
                self.sigma / self.metres,
                self.emphasis.robust,
            )
        ]
        if len(self.bone_weights) and self.emphasis.directions > 0:
            weights = self.bone_weights * self.emphasis.directions
            terms.append(
                direction_term(rig, self.starts, self.ends, self.bone_targets, weights, 0.25)
            )
        if len(self.hanging_targets):
            hanging = *self.hanging, self.hanging_targets, self.hanging_weights
            terms.append(direction_term(rig, *hanging, _HANGING_SIGMA, None))
        terms += self._priors(state, active)
        if self.silhouette is not None and self.pairs is not None:
            terms += self._outline_terms(state, active, self.silhouette, self.pairs)
        return terms

    def _priors(self, state: FitState, active: Active | None) -> list[Term]:
        betas, expression = ((), ()) if active is None else (active.betas, active.expression)
        first = 0 if active is None else active.beta_start
        second = 0 if active is None else active.expression_start
        return [
            pose_prior_term(state, active, self.pose_mean, self.pose_sigma, self.pose_strength),
            joint_limit_term(state, active, self.limits),
            coefficient_term(state.betas - self.beta_mean, active, betas, first, self.beta_scale),
            coefficient_term(state.expression, active, expression, second, self.expression_scale),
            bound_term(state.expression, active, expression, second, 0.03),
        ]

    def _outline_terms(
        self,
        state: FitState,
        active: Active | None,
        silhouette: SilhouetteTarget,
        pairs: tuple[Tensor, Tensor],
    ) -> list[Term]:
        px, jacobian, _ = self.view.project(self.outline.evaluate(state, active))
        factor = self.emphasis.silhouette
        inside = silhouette.inside_term(px, jacobian, 0.012 / self.metres)
        width = silhouette.width_term(px, jacobian, *pairs, 0.02 / self.metres)
        return [
            dataclasses.replace(inside, weights=0.5 * factor * inside.weights),
            dataclasses.replace(width, weights=0.3 * factor * width.weights),
        ]


def metric_bones(detection: Detection) -> list[tuple[str, tuple[tuple[int, int], ...], Tensor]]:
    """Returns, of each set with metric landmarks, name, pairs of rows, and landmarks [K 3]."""
    bones = []
    if "pose" in detection.world:
        pairs = tuple((POSE[first], POSE[second]) for first, second in DIRECTIONS)
        bones.append(("pose", pairs, detection.world["pose"]))
    for name in ("left_hand", "right_hand"):
        if name in detection.world:
            bones.append((name, _HAND_BONES, detection.world[name]))
    return bones


def _one_hot(rows: list[int], count: int) -> Tensor:
    table = torch.zeros(len(rows), count, dtype=torch.float64)
    table[torch.arange(len(rows)), rows] = 1.0
    return table
