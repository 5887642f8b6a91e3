"""`Refiner`: runs the refinement stages with Adam over all frames of a chunk at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from presence.bodies import PARENTS, Body
from presence.geometry import matrix_to_axis_angle
from presence.tracking.body_facts import expression_scale, outline_vertices, rest_normals
from presence.tracking.detection import LANDMARK_SETS, POSE
from presence.tracking.evidence import keypoint_sigmas
from presence.tracking.landmarks import LandmarkMap, PointRig
from presence.tracking.refinement import losses
from presence.tracking.refinement.carrying import carried_over
from presence.tracking.refinement.dense import DenseCost, DenseTarget
from presence.tracking.refinement.evidence import ROWS, FrameEvidence
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack, refine_flame_head
from presence.tracking.refinement.head_tie import HeadTie
from presence.tracking.refinement.marks import StagePoints
from presence.tracking.refinement.posing import FrameStates, Variables, reshaped
from presence.tracking.refinement.stages import Stage, View, stages_for
from presence.tracking.relaxed import JOINT, joint_limits, pose_sigma, relaxed_pose
from presence.tracking.sapiens_points import in_joints
from presence.tracking.terms import left_jacobian_inverse

_WRISTS = tuple(
    (side, tuple(POSE[f"{side}_{n}"] for n in ("wrist", "pinky", "index", "thumb")))
    for side in ("left", "right")
)
_CHAINS = (("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist"))
_LIMBS = tuple(
    (JOINT[f"{side}_{name}"], JOINT[f"{side}_{end}"])
    for side in ("left", "right")
    for chain in _CHAINS
    for name, end in zip(chain, (*chain[1:], chain[-1]))
)
_HELD = 25.0  # of a limb's unseen part, as `joint_strength` has it
_PARALLEL = 0.1  # rad that left-right pairs are off the view direction: heads and trunks turn
_COVERAGE = 0.05  # m that clothes and hair usually stand off the body
_PAIRS = (("left_ear", "right_ear"), ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))


@dataclasses.dataclass(frozen=True)
class RefineOptions:
    """Settings of the refinement.

    Attributes:
        near: rad that a joint usually moves from where it starts; side and back views have tighter
            ones for the body's joints (`stages.py`).
        near_place: m that a body usually moves from where it starts.
        prior: factor on the prior about the relaxed pose.
        smooth: mm of acceleration a frame squared that is usual; 0 does without the term.
        upright: rad that a trunk usually leans.
        robust: standard deviations from which landmarks count as outliers.
        steps: factor on each stage's number of steps.
    """

    near: float = 0.15
    near_place: float = 0.1
    prior: float = 0.3
    smooth: float = 2.5
    upright: float = 0.12
    robust: float = 4.0
    steps: float = 1.0


class Refiner:
    """Refines bodies that an estimator or `BodyFitter` found, frame by frame or over time.

    Landmarks that are Sapiens' lie where that network means them, frame by frame.

    Args:
        body: the model.
        landmarks: where MediaPipe's landmarks lie on it.
        options: settings.
        device: where it works; results come back on it.
    """

    def __init__(
        self,
        body: Body,
        landmarks: LandmarkMap,
        options: RefineOptions | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.body, self.options, self.device = body, options or RefineOptions(), device
        rigs = [landmarks.anchors(body, name) for name in LANDMARK_SETS]
        outline = PointRig.of_vertices(body, outline_vertices(body)[::2])
        self.rig = PointRig.concatenate([*rigs, outline])
        jointed = in_joints(landmarks)
        centres = [jointed.anchors(body, name) for name in LANDMARK_SETS]
        self.centres = PointRig.concatenate(centres)  # [K] where Sapiens means the landmarks
        spreads = [keypoint_sigmas(name, landmarks.sets[name].spread) for name in LANDMARK_SETS]
        self.sigma = torch.cat(spreads).float().to(device)  # [K] m
        self.normals = rest_normals(body, landmarks).float().to(device)
        self.outline = torch.arange(len(self.sigma), len(self.rig))

    def __call__(
        self,
        start: FrameStates,
        evidence: FrameEvidence,
        focal: float,
        *,
        view: View = "front",
        held: int = 0,
        betas: bool = False,
        dense: Sequence[DenseTarget] = (),
        flame: tuple[FlameHead, FlameTrack] | None = None,
        tie: HeadTie | None = None,
    ) -> FrameStates:
        """Runs the view's stages.

        With FLAME, the head stage on the body's own head and face points is followed by one on
        FLAME's head, which the result has as offsets. Frames where FLAME tracking failed have zero
        FLAME and keep the former's; between two frames with FLAME, they take over what it changed
        there.

        Args:
            start: of T frames, consecutive where smoothness counts.
            evidence: of the same frames.
            focal: px; the principal point is the picture's middle.
            view: how the person stands to the camera.
            held: so many frames at the beginning keep their start; the others join them smoothly.
            betas: whether the shared shape may change in the body stage.
            dense: where FLAME or MANO see vertices of head or hands, for those stages.
            flame: the body with FLAME's head, and where the heads of the T frames were found.
            tie: what FLAME's head says of the shape, for a shape that may change.
        """
        states = start.to(self.device)
        if tie is not None and betas:
            # The body stays on the CPU, and so does what is done once.
            begin = start.to("cpu")
            states = reshaped(self.body, begin, tie.nearest(begin.betas)).to(self.device)
            tie = tie.to(self.device)
        seen = evidence.to(self.device)
        for stage in stages_for(view):
            moves = stage.betas or (betas and stage.name == "body")
            stage = dataclasses.replace(stage, betas=moves)
            cost = _StageCost(self, stage, states, seen, focal, dense, tie)
            states = self._run(stage, states, cost, held)
            if stage.name == "head" and flame is not None and bool(flame[1].valid.any()):
                states = self._flame(stage, states, seen, focal, *flame, held)
        return states

    def _flame(
        self,
        stage: Stage,
        start: FrameStates,
        seen: FrameEvidence,
        focal: float,
        head: FlameHead,
        track: FlameTrack,
        held: int,
    ) -> FrameStates:
        """Eq. 20: FLAME's head in the place of the body's; of landmarks, the body's alone."""
        head, track = head.to(self.device), track.to(self.device)
        stage = dataclasses.replace(stage, sets={"pose": 1.0}, expression=False)
        others = _StageCost(self, stage, start, seen, focal)
        size = (seen.width, seen.height)
        affine = head.affine(start.betas, track.shape)  # the stage's own: the shape may change
        found, fitted = refine_flame_head(head, start, track, focal, size, others=others, held=held)
        mimic = head.body_expression(fitted.shape, fitted.expression, affine)
        offsets = head.offsets(found.betas, fitted.shape, affine)
        return dataclasses.replace(carried_over(start, found, mimic, fitted.valid), offsets=offsets)

    def _run(self, stage: Stage, start: FrameStates, cost: _StageCost, held: int) -> FrameStates:
        shaped = range(len(start.betas)) if stage.betas else ()
        variables = Variables(
            start,
            stage.joints,
            translation=stage.translation,
            betas=shaped,
            expression=stage.expression,
        )
        steps = max(int(stage.steps * self.options.steps), 1)
        adam = torch.optim.Adam(variables.groups(stage.rate), betas=(0.9, 0.98))
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.0)
        with torch.enable_grad():
            for _ in range(steps):
                adam.zero_grad(set_to_none=True)
                cost(variables).backward()
                for moved in (variables.turns, variables.shift, variables.mimic):
                    if held and moved is not None and moved.grad is not None:
                        moved.grad[:held] = 0.0
                adam.step()
                falling.step()
        with torch.no_grad():
            return variables.states()


class _StageCost:
    """One stage's cost of variables: everything that stays fixed while it runs is made here."""

    def __init__(
        self,
        refiner: Refiner,
        stage: Stage,
        start: FrameStates,
        seen: FrameEvidence,
        focal: float,
        dense: Sequence[DenseTarget] = (),
        tie: HeadTie | None = None,
    ) -> None:
        self.stage, self.seen, self.focal, self.tie = stage, seen, focal, tie
        self.dense = DenseCost(refiner.body, dense, stage.name, start.rotations.device)
        self.options, device = refiner.options, start.rotations.device
        self.centre = torch.tensor([seen.width / 2, seen.height / 2], device=device)
        self.chosen = _rows(stage)  # landmark rows of this stage
        self.marks = len(self.chosen)
        outline = refiner.outline[:: 1 if stage.silhouette else 8]
        self.rig = StagePoints(
            refiner.body, refiner.rig, refiner.centres, self.chosen, outline, seen.taken, device
        )
        with torch.no_grad():
            points, joints, world = self.rig(start)
            points = self.rig.carried(points)
            _, depth = losses.project(points, focal, self.centre)
            place, _ = losses.project(joints, focal, self.centre)
        self.metres = (depth.mean(-1) / focal).clamp_min(1e-6)  # [T] m for one px
        self.sigma = refiner.sigma[self.chosen] / self.metres[:, None]  # [T K] px
        self.trusted = _trusted(stage, seen)
        self.strength = seen.strength if stage.sets else torch.ones_like(seen.strength)
        self.held = _held(place, (seen.width, seen.height)) if stage.hold_unseen else None
        self.weights = self._weights(refiner, points, world)
        self._set_bones()
        self.near = _near(stage.near, self.options.near, joints, world)  # [T 55 3 3]
        angles = matrix_to_axis_angle(start.rotations)
        self.angles = angles
        self.slopes = left_jacobian_inverse(angles)  # [T 55 3 3]
        self.mean = relaxed_pose().to(device)
        self.spread = pose_sigma().to(device)
        self.limits = joint_limits().to(device)
        self.expression_scale = expression_scale(refiner.body).float().to(device)

    def _weights(self, refiner: Refiner, points: Tensor, world: Tensor) -> Tensor:
        weights = (self.seen.weights * self.trusted)[:, self.chosen]
        face = (self.chosen >= ROWS["face"].start) & (self.chosen < ROWS["face"].stop)
        if face.any():
            # Facial landmarks that look away from the camera are the detector's guesses.
            rows = self.chosen[face] - ROWS["face"].start
            turned = refiner.normals[rows] @ world[:, JOINT["head"]].mT
            sight = torch.nn.functional.normalize(-points[:, : self.marks][:, face], dim=-1)
            cosine = (turned * sight).sum(-1)
            weights[:, face] *= self.stage.face_step * ((cosine + 0.05) / 0.3).clamp(0.05, 1.0)
        return weights

    def _set_bones(self) -> None:
        place = torch.full((sum(r.stop - r.start for r in ROWS.values()),), -1)
        place[self.chosen] = torch.arange(self.marks)
        ends = place[self.seen.pairs.cpu()]
        kept = (ends >= 0).all(-1)
        self.ends = ends[kept]
        trusted = self.trusted[:, self.seen.pairs].amin(-1)
        self.bones = self.seen.bones[:, kept]
        self.bone_weights = (self.seen.bone_weights * trusted)[:, kept]
        start = ROWS["pose"].start
        pairs = [(place[start + POSE[a]], place[start + POSE[b]]) for a, b in _PAIRS]
        self.pairs = torch.tensor([[int(a), int(b)] for a, b in pairs])

    def __call__(self, variables: Variables) -> Tensor:
        stage, options, seen = self.stage, self.options, self.seen
        states = variables.states()
        points, joints, _ = self.rig(states)
        px, depth = losses.project(points, self.focal, self.centre)
        marks, size = self.marks, (seen.width, seen.height)
        places = self.rig.meant(px)[:, :marks]
        total = losses.keypoint_cost(
            places, seen.target[:, self.chosen], self.weights, self.sigma, options.robust
        )
        points, px, depth = self.rig.meant(points), self.rig.carried(px), self.rig.carried(depth)
        if len(self.ends):
            bones = points[:, self.ends[:, 1]] - points[:, self.ends[:, 0]]
            total = total + losses.direction_cost(bones, self.bones, self.bone_weights, 0.25)
        total = total + self.dense(states, self.focal, self.centre)
        if stage.silhouette:
            cost = losses.silhouette_cost(px[:, marks:], seen.signed, size, 0.012 / self.metres)
            total = total + stage.silhouette * seen.masked * cost
        if stage.coverage:
            sigma = _COVERAGE / self.metres
            cost = losses.coverage_cost(px[:, marks:], seen.contour, seen.outlined, sigma)
            total = total + stage.coverage * cost
        if stage.upright:
            wanted = torch.ones_like(seen.upper) if stage.upright_always else seen.upper
            total = total + stage.upright * wanted * losses.upright_cost(joints, options.upright)
        if stage.parallel and bool((self.pairs >= 0).all()):
            ends = points[:, self.pairs[:, 0]], points[:, self.pairs[:, 1]]
            total = total + stage.parallel * losses.parallel_cost(*ends, _PARALLEL)
        total = total + self._priors(variables, states)
        if options.smooth and len(states) > 2:
            sigma = 1e-3 * options.smooth / self.metres
            bend = losses.smoothness_cost(px, depth, self.focal, sigma)
            total = total + 30.0 * bend
        return total.sum()

    def _priors(self, variables: Variables, states: FrameStates) -> Tensor:
        """Near the start, near the relaxed pose, and within the joints' limits: [T]."""
        options, joints = self.options, variables.joints
        turns, strength = variables.turns, self.strength[:, joints]
        near = (self.near[:, joints] @ turns[..., None]).square().sum((-1, -2))
        if self.held is not None:
            near = near * self.held[:, joints]
        angles = self.angles[:, joints] + (self.slopes[:, joints] @ turns[..., None])[..., 0]
        usual = ((angles - self.mean[joints]) / self.spread[joints]).square().sum(-1)
        low, high = self.limits[:, joints]
        beyond = ((angles - angles.clamp(low, high)) / 0.08).square().sum(-1)
        total = (strength * (near + options.prior * usual) + beyond).sum(-1)
        if variables.shift is not None:
            total = total + (variables.shift / options.near_place).square().sum(-1)
        if variables.mimic is not None:
            held = (states.expression * self.expression_scale).square().sum(-1)
            beyond = (states.expression - states.expression.clamp(0, 1)) / 0.03
            total = total + held + beyond.square().sum(-1)
        if variables.growth is not None:
            total = total + variables.growth.square().sum()
            if self.tie is not None:
                total = total + self.tie(states.betas)
        return total


def _near(
    table: Sequence[tuple[int, float, float]], others: float, joints: Tensor, world: Tensor
) -> Tensor:
    """Returns what turns small turns [3] of each joint into standard deviations: [T 55 3 3].

    Args:
        table: joint, and its rad about the line of sight and about axes across it.
        others: rad of the joints that are not in the table.
        joints: [T 55 3] m, in the start, as the camera at the origin sees them.
        world: [T 55 3 3] rotations of the joints in the start.
    """
    along, across = world.new_full((2, world.shape[1]), others)
    for joint, shown, hidden in table:
        along[joint], across[joint] = shown, hidden
    sight = torch.nn.functional.normalize(joints, dim=-1)[..., None]
    # Turns are in the axes of a joint's parent, the root's in the camera's.
    above = world[:, list(PARENTS)].clone()
    above[:, 0] = torch.eye(3).to(world)
    sight = above.mT @ sight  # [T 55 3 1]
    seen = sight @ sight.mT
    return seen / along[:, None, None] + (torch.eye(3).to(world) - seen) / across[:, None, None]


def _held(place: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns factors [T 55] on staying near the start: high where a limb ends unseen.

    A joint of arm or leg is held where the bone that it turns ends beyond the picture; otherwise
    limbs out of sight fold into a mask, where they cost nothing.

    Args:
        place: [T 55 2] px of the joints in the start.
        size: width and height of the picture, px.
    """
    outside = ((place < 0) | (place > place.new_tensor(size))).any(-1)
    held = torch.ones_like(place[..., 0])
    for joint, end in _LIMBS:
        held[:, joint] = torch.where(outside[:, end], _HELD, 1.0)
    return held


def _trusted(stage: Stage, seen: FrameEvidence) -> Tensor:
    """Returns the stage's factor on every landmark [T K]; 0 for wrists that are to be ignored."""
    trusted = torch.zeros_like(seen.weights)
    for name, factor in stage.sets.items():
        trusted[:, ROWS[name]] = factor
    if stage.ignore_wrists:
        for side, rows in _WRISTS:
            unseen = (seen.weights[:, ROWS[f"{side}_hand"]].amax(-1) <= 0) & (seen.upper > 0)
            for row in rows:
                trusted[:, ROWS["pose"].start + row] *= (~unseen).float()
    return trusted


def _rows(stage: Stage) -> Tensor:
    """Landmark rows that a stage looks at; the body's own are always there, for side views."""
    rows = [torch.arange(ROWS["pose"].start, ROWS["pose"].stop)]
    for name in ("face", "left_hand", "right_hand"):
        if stage.sets.get(name, 0.0):
            step = stage.face_step if name == "face" else 1
            rows.append(torch.arange(ROWS[name].start, ROWS[name].stop, step))
    return torch.cat(rows)
