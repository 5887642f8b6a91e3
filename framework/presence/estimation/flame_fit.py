"""A head model laid onto face landmarks in a narrow camera, as GAGAvatar tracks heads."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from presence.bodies.flame import NUM_EXPRESSION, NUM_SHAPE, Flame, FlameMarks
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle, rotation_6d_to_matrix

SIDE, FOCAL = 512, 3072.0  # px: the crop, and its camera of 9.53 degrees
UNITS = 5.0  # the head is five times as large there as in metres
STEPS = 300
RATES = {"eyes": 1e-3, "rotation": 5e-4, "translation": 0.1}  # Adam's, of GAGAvatar's tracking
# Ours: where no network gave them.
FREE_RATES = {"shape": 3e-2, "expression": 3e-2, "jaw": 3e-3}
LANDMARKS, IRISES = 10.0, 25.0  # weights of the distances over the crop's side
# Ours: how dear a coefficient of one standard deviation is, in the same loss.
_SHAPE_COST, _EXPRESSION_COST, _JAW_COST = 2e-4, 2e-4, 2e-3
_FREE_SHAPE, _FREE_EXPRESSION = 50, 30  # leading coefficients that landmarks can tell


@dataclasses.dataclass(frozen=True)
class FlameState:
    """A head before the crop's camera (OpenCV axes).

    Attributes:
        shape: [300].
        expression: [100].
        jaw: [3] axis-angle.
        eyes: [2 3] axis-angle, left and right.
        rotation: [3 3] about the model's origin.
        translation: [3] metres.
        error: mean distance of the landmarks, px of the crop.
    """

    shape: Tensor
    expression: Tensor
    jaw: Tensor
    eyes: Tensor
    rotation: Tensor
    translation: Tensor
    error: float = float("nan")

    def joints(self) -> Tensor:
        """Returns the rotations [5 3 3] of root (identity), neck, jaw and eyes."""
        still = torch.zeros(2, 3)
        return axis_angle_to_matrix(torch.cat([still, self.jaw[None], self.eyes]))


def rest_state() -> FlameState:
    """Returns the mean face, unturned, at the origin."""
    zeros = torch.zeros
    return FlameState(
        zeros(NUM_SHAPE), zeros(NUM_EXPRESSION), zeros(3), zeros(2, 3), torch.eye(3), zeros(3)
    )


def fit_flame(
    flame: Flame,
    marks: FlameMarks,
    target: Tensor,
    irises: Tensor | None,
    start: FlameState | None,
    *,
    steps: int = STEPS,
) -> FlameState:
    """Fits a head to landmarks in a crop of `SIDE` px.

    Rotation and translation start by least squares, as GAGAvatar's start from a network, for its
    rates would not bring them far. Then Adam moves them and the eyes; shape,
    expression and jaw stay those of `start`. Without a start they are fitted too, held by their
    usual size.

    Args:
        flame: the model.
        marks: its landmarks.
        target: [K 2] px of the crop.
        irises: [2 2] px, left and right; None where they were not seen.
        start: shape, expression and jaw as a network found them; None without.
        steps: of Adam.
    """
    state = start or rest_state()
    free = start is None
    placed = marks.points(flame(state.shape, state.expression, state.joints()))
    rotation, translation = posed(placed, target)
    values = {
        "eyes": state.eyes.clone(),
        "rotation": torch.cat([rotation[:, 0], rotation[:, 1]]),
        "translation": translation * UNITS,
    }
    rates = dict(RATES)
    if free:
        values |= {
            "shape": torch.zeros(_FREE_SHAPE),
            "expression": torch.zeros(_FREE_EXPRESSION),
            "jaw": torch.zeros(3),
        }
        rates |= FREE_RATES
    values = {name: value.detach().requires_grad_(True) for name, value in values.items()}
    optimizer = torch.optim.Adam(
        [{"params": [value], "lr": rates[name]} for name, value in values.items()]
    )
    loss = _Loss(flame, marks, target, irises)
    with torch.enable_grad():
        for step in range(steps):
            for group, name in zip(optimizer.param_groups, values, strict=True):
                group["lr"] = rates[name] * (1 - step / steps)  # ours: ends without trembling
            optimizer.zero_grad()
            loss(_state(state, values)).backward()
            optimizer.step()
    with torch.no_grad():
        found = _state(state, {name: value.detach() for name, value in values.items()})
        return dataclasses.replace(found, error=float(loss.distances(found)[0].mean()))


def posed(points: Tensor, target: Tensor, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Returns the rotation [3 3] and translation [3] (m) with the least squares in pixels.

    Gauss-Newton steps from `orthographic_pose`.

    Args:
        points: [K 3] metres.
        target: [K 2] px of the crop.
        rounds: steps.
    """
    rotation, translation = (value.double() for value in orthographic_pose(points, target))
    points, target = points.double(), target.double()
    moves = torch.eye(3, dtype=torch.float64).expand(len(points), 3, 3)
    for _ in range(rounds):
        seen = points @ rotation.mT + translation
        # A turn w of the model moves a point by R (w x X).
        turns = rotation @ torch.linalg.cross(moves, points[:, None, :].expand_as(moves)).mT
        steps = torch.cat([turns, moves], -1)  # [K 3 6]
        depth = seen[:, 2, None]
        slope = FOCAL * (
            steps[:, :2] / depth[..., None]
            - seen[:, :2, None] * steps[:, 2:] / depth[..., None].square()
        )
        error = target - (FOCAL * seen[:, :2] / depth + SIDE / 2)
        step = torch.linalg.lstsq(slope.flatten(0, 1), error.flatten()[:, None]).solution[:, 0]
        rotation = rotation @ axis_angle_to_matrix(step[:3])
        translation = translation + step[3:]
    return rotation.float(), translation.float()


def orthographic_pose(points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rotation [3 3] and translation [3] (m) that lay points near pixels of the crop.

    The best affine camera in closed form, its rows made orthogonal (Tomasi and Kanade's weak
    perspective), its scale turned into a depth.

    Args:
        points: [K 3] metres, not all in a plane.
        target: [K 2] px.
    """
    middle, aim = points.mean(0), target.mean(0)
    rows = torch.linalg.lstsq((points - middle).double(), (target - aim).double()).solution.T
    u, s, vt = torch.linalg.svd(rows, full_matrices=False)
    two = u @ vt  # [2 3], orthonormal rows
    rotation = torch.cat([two, torch.linalg.cross(two[0], two[1])[None]]).float()
    depth = FOCAL / float(s.mean())
    across = (aim - SIDE / 2) * depth / FOCAL
    translation = torch.cat([across, aim.new_tensor([depth])]) - rotation @ middle
    return rotation, translation


class _Loss:
    def __init__(
        self, flame: Flame, marks: FlameMarks, target: Tensor, irises: Tensor | None
    ) -> None:
        self.flame, self.marks, self.target, self.irises = flame, marks, target, irises
        self.pupils = list(flame.pupils()) if irises is not None else []

    def __call__(self, state: FlameState) -> Tensor:
        landmarks, irises = self.distances(state)
        total = LANDMARKS * landmarks.mean() / SIDE
        if irises is not None:
            total = total + IRISES * irises.mean() / SIDE
        return (
            total
            + _SHAPE_COST * state.shape.square().sum()
            + _EXPRESSION_COST * state.expression.square().sum()
            + _JAW_COST * state.jaw.square().sum()
        )

    def distances(self, state: FlameState) -> tuple[Tensor, Tensor | None]:
        """Returns px of the crop: of the landmarks [K], of the irises [2]."""
        vertices = self.flame(state.shape, state.expression, state.joints())
        found = _projected(self.marks.points(vertices), state)
        distances = (found - self.target).norm(dim=-1)
        if self.irises is None:
            return distances, None
        return distances, (_projected(vertices[self.pupils], state) - self.irises).norm(dim=-1)


def _projected(points: Tensor, state: FlameState) -> Tensor:
    placed = points @ state.rotation.mT + state.translation
    return FOCAL * placed[:, :2] / placed[:, 2:] + SIDE / 2


def _state(fixed: FlameState, values: dict[str, Tensor]) -> FlameState:
    def padded(name: str, size: int) -> Tensor:
        return torch.nn.functional.pad(values[name], (0, size - len(values[name])))

    changed: dict[str, Any] = {
        "eyes": values["eyes"],
        "rotation": rotation_6d_to_matrix(values["rotation"]),
        "translation": values["translation"] / UNITS,
    }
    if "shape" in values:
        changed |= {
            "shape": padded("shape", NUM_SHAPE),
            "expression": padded("expression", NUM_EXPRESSION),
            "jaw": values["jaw"],
        }
    return dataclasses.replace(fixed, **changed)


def jaw_of(joints: Tensor) -> Tensor:
    """Returns the jaw's axis-angle [3] from FLAME's joints [4 3 3] without the root."""
    return matrix_to_axis_angle(joints[1])
