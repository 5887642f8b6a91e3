"""Arms whose hands were found elsewhere than where they start: the nearest of many arm poses."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import torch
from torch import Tensor

from presence.bodies.joints import JOINT_NAMES
from presence.geometry import axis_angle_to_matrix
from presence.tracking.initial_pose import bent_limb
from presence.tracking.objective import Emphasis, FitObjective
from presence.tracking.rig import Active, FitState
from presence.tracking.solver import minimize, total_cost

_FAR = 0.12  # m from the landmarks of a hand, on average, at which the arm is elsewhere
_KEPT = 3  # arm poses that are solved from
_BETTER = 0.8  # share of the cost without them below which one of them counts
# Of the left arm in the trunk's axes; the right one's have the other sign along the first.
_UPPER = (
    (0, -1, 0),
    (0.6, -0.8, 0),
    (0, -0.8, 0.6),
    (0, -0.2, 1),
    (0.7, -0.3, 0.7),
    (0.7, 0.4, 0.5),
)
_TOWARDS = ((0, 1, 0), (0, 0, 1), (-1, 0, 0), (-0.6, 0.6, 0.5))
_BENDS = (0.8, 1.5, 2.2)  # rad of the elbow


def reach(objective: FitObjective, state: FitState, side: str) -> FitState:
    """Returns the state with an arm that reaches its hand, or as it is where it does already.

    Where no elbow is seen, as in pictures of heads, arms start hanging, and least squares alone
    do not raise them. Many arm poses are compared by the objective, and the best are solved.

    Args:
        objective: of the person, with the hand's landmarks.
        state: with the body in place.
        side: "left" or "right".
    """
    rows = objective.rows[f"{side}_hand"]
    emphasis = Emphasis({"pose": 1.0, f"{side}_hand": 1.0}, directions=4.0, robust=40.0)
    objective.prepare(state, emphasis)
    px, _, _ = objective.view.project(objective.rig.evaluate(state))
    away = (px[rows] - objective.target[rows]).norm(dim=-1).mean() * objective.metres
    if float(away) < _FAR:
        return state
    shoulder, elbow, wrist = (
        JOINT_NAMES.index(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist")
    )
    starts = []
    for pose in _arm_poses(side):
        rotations = state.rotations.clone()
        rotations[[shoulder, elbow]] = pose.to(rotations)
        starts.append(dataclasses.replace(state, rotations=rotations))
    starts.sort(key=lambda start: total_cost(objective(start, None)))
    active = Active((shoulder, elbow, wrist), translation=False)
    ends = [minimize(objective, start, active, iterations=15) for start in (state, *starts[:_KEPT])]
    costs = [total_cost(objective(end, None)) for end in ends]
    best = min(range(len(ends)), key=costs.__getitem__)
    return ends[best] if costs[best] < _BETTER * costs[0] else state


@functools.cache
def _arm_poses(side: str) -> tuple[Tensor, ...]:
    """Rotations [2 3 3] of shoulder and elbow."""
    sign = torch.tensor([1.0 if side == "left" else -1.0, 1.0, 1.0])
    rest = torch.tensor([1.0, 0.0, 0.0]) * sign
    poses = []
    for upper, towards, bend in itertools.product(_UPPER, _TOWARDS, _BENDS):
        direction = torch.nn.functional.normalize(
            torch.tensor(upper, dtype=torch.float32) * sign, dim=0
        )
        aim = torch.tensor(towards, dtype=torch.float32) * sign
        if float(torch.linalg.cross(direction, aim).norm()) > 0.3:
            poses.append(axis_angle_to_matrix(torch.stack(bent_limb(direction, aim, bend, rest))))
    return tuple(poses)
