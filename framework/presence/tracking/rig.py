"""`FitRig`: a few hundred points of a posed body and their exact derivatives, for least squares."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.bodies import PARENTS, Body
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import BodyParams
from presence.tracking.landmarks import PointRig


@dataclasses.dataclass(frozen=True)
class FitState:
    """What is fitted, in float64.

    Attributes:
        rotations: [55 3 3] of each joint relative to its parent.
        translation: [3] metres, camera-facing world axes with the camera at the origin.
        betas: [S].
        expression: [E].
    """

    rotations: Tensor
    translation: Tensor
    betas: Tensor
    expression: Tensor

    @classmethod
    def from_params(cls, params: BodyParams) -> FitState:
        """Converts unbatched body parameters."""
        return cls(
            axis_angle_to_matrix(params.pose.double()),
            params.translation.double(),
            params.betas.double(),
            params.expression.double(),
        )

    def to_params(self) -> BodyParams:
        """Converts back, in float32."""
        return BodyParams(
            betas=self.betas.float(),
            expression=self.expression.float(),
            pose=matrix_to_axis_angle(self.rotations).float(),
            translation=self.translation.float(),
        )


@dataclasses.dataclass(frozen=True)
class Active:
    """Which quantities a stage may change, and where they stand in its step vector.

    Steps are ordered: three numbers for each joint (a rotation in the parent's axes, applied
    after the joint's own), the translation, shape, expression.

    Attributes:
        joints: indices of joints.
        translation: whether the translation moves.
        betas: indices of shape coefficients.
        expression: indices of expression coefficients.
    """

    joints: tuple[int, ...] = ()
    translation: bool = True
    betas: tuple[int, ...] = ()
    expression: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Length of a step vector."""
        return self.beta_start + len(self.betas) + len(self.expression)

    @property
    def translation_start(self) -> int:
        """Where the translation begins."""
        return 3 * len(self.joints)

    @property
    def beta_start(self) -> int:
        """Where the shape coefficients begin."""
        return self.translation_start + 3 * self.translation

    @property
    def expression_start(self) -> int:
        """Where the expression coefficients begin."""
        return self.beta_start + len(self.betas)

    def apply(self, state: FitState, step: Tensor) -> FitState:
        """Returns the state after a step [P]."""
        rotations, translation = state.rotations.clone(), state.translation
        betas, expression = state.betas.clone(), state.expression.clone()
        if self.joints:
            joints = list(self.joints)
            turns = axis_angle_to_matrix(step[: self.translation_start].reshape(-1, 3))
            rotations[joints] = turns @ rotations[joints]
        if self.translation:
            translation = translation + step[self.translation_start : self.beta_start]
        betas[list(self.betas)] += step[self.beta_start : self.expression_start]
        expression[list(self.expression)] += step[self.expression_start :]
        return FitState(rotations, translation, betas, expression)


@dataclasses.dataclass(frozen=True)
class RigPoints:
    """Posed points.

    Attributes:
        points: [N 3] metres.
        jacobian: [N 3 P] with respect to a step, or None.
        joint_rotations: [55 3 3] world.
    """

    points: Tensor
    jacobian: Tensor | None
    joint_rotations: Tensor


class FitRig:
    """Poses a `PointRig` as the body would, and differentiates it in closed form.

    A point is p = sum_k w_k (R_k (v - J_k) + P_k) (SMPL, Loper et al. 2015, Eq. 2-4). Turning
    joint j by a small world rotation moves the part of p that hangs on j's subtree about j.

    Args:
        body: whose joints and parents are used.
        rig: the points.
    """

    def __init__(self, body: Body, rig: PointRig) -> None:
        self.rig = PointRig(
            rig.template.double(),
            rig.shapedirs.double(),
            rig.exprdirs.double(),
            rig.weights.double(),
            rig.corners,
            rig.shares.double(),
        )
        self.joint_template = body.joint_template.reshape(-1, 3).double()
        self.joint_shapedirs = body.joint_shapedirs.unflatten(-1, (-1, 3)).permute(1, 2, 0).double()
        self.joint_exprdirs = body.joint_exprdirs.unflatten(-1, (-1, 3)).permute(1, 2, 0).double()
        self.subtree = _subtrees()

    def __len__(self) -> int:
        return len(self.rig)

    def evaluate(self, state: FitState, active: Active | None = None) -> RigPoints:
        """Poses the points; with `active`, also differentiates them."""
        rest = self.rig.template + self.rig.shapedirs @ state.betas
        rest = rest + self.rig.exprdirs @ state.expression  # [N 3]
        joints = self.joint_template + self.joint_shapedirs @ state.betas
        joints = joints + self.joint_exprdirs @ state.expression  # [55 3]
        world, places = _kinematics(state, joints)
        anchors = places - (world @ joints[..., None])[..., 0]  # [55 3]
        carried = torch.einsum("kij,nj->nki", world, rest) + anchors
        carried = carried * self.rig.weights[..., None]  # [N 55 3]
        points = carried.sum(1)
        if active is None:
            return RigPoints(points, None, world)
        columns = []
        if active.joints:
            columns.append(self._joint_columns(active.joints, carried, world, places))
        if active.translation:
            columns.append(torch.eye(3, dtype=points.dtype).expand(len(points), 3, 3))
        blends = self._blend_columns(active, world)
        return RigPoints(points, torch.cat([*columns, blends], -1), world)

    def _joint_columns(
        self, joints: tuple[int, ...], carried: Tensor, world: Tensor, places: Tensor
    ) -> Tensor:
        chosen = self.subtree[list(joints)]  # [A 55]
        hanging = torch.einsum("ak,nki->nai", chosen, carried)
        share = self.rig.weights @ chosen.T  # [N A]
        arms = hanging - share[..., None] * places[list(joints)]  # [N A 3]
        parents = [PARENTS[j] for j in joints]
        axes = torch.stack([torch.eye(3).double() if p < 0 else world[p] for p in parents])
        # d(omega x arm)/d(step) with omega = axes @ step: column c is axes[:, c] x arm.
        columns = torch.linalg.cross(
            axes.transpose(-1, -2)[None], arms[:, :, None, :], dim=-1
        )  # [N A 3(step) 3(xyz)]
        return columns.flatten(1, 2).transpose(1, 2)

    def _blend_columns(self, active: Active, world: Tensor) -> Tensor:
        betas, expression = list(active.betas), list(active.expression)
        moved = torch.cat([self.rig.shapedirs[..., betas], self.rig.exprdirs[..., expression]], -1)
        joints = [self.joint_shapedirs[..., betas], self.joint_exprdirs[..., expression]]
        rest = torch.cat(joints, -1)  # [55 3 C]
        places = [rest[0]]
        for joint, parent in enumerate(PARENTS[1:], start=1):
            places.append(places[parent] + world[parent] @ (rest[joint] - rest[parent]))
        anchors = torch.stack(places) - world @ rest  # [55 3 C]
        linear = torch.einsum("nk,kij->nij", self.rig.weights, world)
        return linear @ moved + torch.einsum("nk,kic->nic", self.rig.weights, anchors)


def _kinematics(state: FitState, joints: Tensor) -> tuple[Tensor, Tensor]:
    world, places = [state.rotations[0]], [joints[0]]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        places.append(places[parent] + world[parent] @ (joints[joint] - joints[parent]))
        world.append(world[parent] @ state.rotations[joint])
    return torch.stack(world), torch.stack(places) + state.translation


def _subtrees() -> Tensor:
    """Returns [55 55]: row j marks j and everything that hangs on it."""
    count = len(PARENTS)
    marks = torch.eye(count, dtype=torch.float64)
    for joint in range(count - 1, 0, -1):
        marks[PARENTS[joint]] += marks[joint]
    return marks
