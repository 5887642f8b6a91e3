"""`FrameStates`, what is refined of T frames, and `BatchRig`, which poses points for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from presence.bodies import PARENTS, Body
from presence.bodies.skinning import forward_kinematics, posed_from_rest, skin
from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.structures import BodyParams, Camera, Tracking
from presence.tracking.landmarks import PointRig
from presence.tracking.rig import FitState

FLIP = (1.0, -1.0, -1.0)  # between a camera's axes (y down, z away) and the fit's (y up)


@dataclasses.dataclass(frozen=True)
class FrameStates:
    """Bodies of T frames as a camera at the origin sees them: it looks along -z, +y is up.

    Attributes:
        rotations: [T 55 3 3] of each joint relative to its parent.
        translation: [T 3] metres.
        betas: [S], shared by all frames.
        expression: [T E].
        offsets: [V 3] of the rest vertices beyond the shape, shared too; see `BodyParams`.
    """

    rotations: Tensor
    translation: Tensor
    betas: Tensor
    expression: Tensor
    offsets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, frames: slice | Tensor) -> FrameStates:
        return dataclasses.replace(
            self,
            rotations=self.rotations[frames],
            translation=self.translation[frames],
            expression=self.expression[frames],
        )

    def to(self, device: torch.device | str) -> FrameStates:
        """Returns the states on another device."""
        return FrameStates(
            self.rotations.to(device),
            self.translation.to(device),
            self.betas.to(device),
            self.expression.to(device),
            None if self.offsets is None else self.offsets.to(device),
        )

    def params(self) -> BodyParams:
        """Returns body parameters [T] in the fit's axes, on the CPU."""
        states = self.to("cpu")
        offsets = states.offsets
        return BodyParams(
            betas=states.betas.expand(len(self), -1).contiguous(),
            expression=states.expression,
            pose=matrix_to_axis_angle(states.rotations),
            translation=states.translation,
            offsets=None if offsets is None else offsets.expand(len(self), -1, -1),
        )

    @classmethod
    def from_params(cls, params: BodyParams) -> FrameStates:
        """Converts parameters [T] in the fit's axes; shape and offsets become their means."""
        return cls(
            axis_angle_to_matrix(params.pose.float()),
            params.translation.float(),
            params.betas.float().mean(0),
            params.expression.float(),
            None if params.offsets is None else params.offsets.float().mean(0),
        )

    @classmethod
    def stack(cls, states: Sequence[FitState]) -> FrameStates:
        """Joins single fits; the shape becomes their mean."""
        return cls(
            torch.stack([state.rotations for state in states]).float(),
            torch.stack([state.translation for state in states]).float(),
            torch.stack([state.betas for state in states]).float().mean(0),
            torch.stack([state.expression for state in states]).float(),
        )


def seen_by_camera(body: Body, tracking: Tracking) -> BodyParams:
    """Returns a tracking's parameters in the fit's axes: its camera moves to the origin.

    Args:
        body: the model that it is of.
        tracking: unbatched, from any tracker.
    """
    params, pose = tracking.body, tracking.camera.cam_from_world
    turn = torch.diag(pose.new_tensor(FLIP)) @ pose[:3, :3]
    pelvis = body.rest_joints(params.betas, params.expression)[0]
    place = turn @ (pelvis + params.translation) + pose.new_tensor(FLIP) * pose[:3, 3]
    root = matrix_to_axis_angle(turn @ axis_angle_to_matrix(params.pose[0]))
    return params.replace(pose=torch.cat([root[None], params.pose[1:]]), translation=place - pelvis)


def reshaped(body: Body, states: FrameStates, betas: Tensor) -> FrameStates:
    """Returns the same people in another shape, where they look as large as before.

    What a shape adds to the size of the skeleton, the pelvis' distance from the camera makes up
    for: a picture does not tell the two apart.

    Args:
        body: the model.
        states: of T frames.
        betas: [S] the new shape.
    """
    nothing = betas.new_zeros(body.num_expression)
    joints = torch.stack([body.rest_joints(b, nothing) for b in (states.betas, betas)])
    before, after = (joints - joints.mean(1, keepdim=True)).square().sum((1, 2)).sqrt()
    place = (after / before) * (states.translation + joints[0, 0]) - joints[1, 0]
    return dataclasses.replace(states, betas=betas, translation=place)


def turned(states: FrameStates, degrees: float) -> FrameStates:
    """Returns the same people turned about the vertical through the pelvis, where they stand.

    Args:
        states: such as a front view's, for a picture of the same person from the side or behind.
        degrees: positive turns the person to their own left.
    """
    turn = axis_angle_to_matrix(states.rotations.new_tensor([0.0, math.radians(degrees), 0.0]))
    rotations = states.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    return dataclasses.replace(states, rotations=rotations)


def fit_camera(K: Tensor, width: int, height: int) -> Camera:
    """Returns the camera [3 3] px that sees the fit's axes."""
    return Camera(K, torch.diag(K.new_tensor([*FLIP, 1.0])), width, height)


class BatchRig:
    """Poses a few hundred points of a body for T frames at once, differentiably.

    Args:
        body: whose joints are used.
        rig: the points.
        device: where it works.
    """

    def __init__(self, body: Body, rig: PointRig, device: torch.device | str = "cpu") -> None:
        self.template = rig.template.float().to(device)
        self.shapedirs = rig.shapedirs.float().to(device)  # [N 3 S]
        self.exprdirs = rig.exprdirs.float().to(device).flatten(0, 1)  # [N*3 E]
        self.weights = rig.weights.float().to(device)
        self.corners, self.shares = rig.corners.to(device), rig.shares.float().to(device)
        self.joint_template = body.joint_template.reshape(-1, 3).to(device)
        self.joint_shapedirs = body.joint_shapedirs.to(device)  # [S 55*3]
        self.joint_exprdirs = body.joint_exprdirs.to(device)

    def __len__(self) -> int:
        return len(self.template)

    def __call__(self, states: FrameStates) -> tuple[Tensor, Tensor, Tensor]:
        """Returns points [T N 3], joints [T 55 3] (m) and joint rotations [T 55 3 3]."""
        rest = self.template + self.shapedirs @ states.betas  # [N 3]
        if states.offsets is not None:
            rest = rest + (states.offsets[self.corners] * self.shares[..., None]).sum(-2)
        rest = rest + (states.expression @ self.exprdirs.T).unflatten(-1, (-1, 3))  # [T N 3]
        moved = states.betas @ self.joint_shapedirs + states.expression @ self.joint_exprdirs
        joints = self.joint_template + moved.unflatten(-1, (-1, 3))  # [T 55 3]
        world, placed = forward_kinematics(states.rotations, joints, PARENTS)
        points, _ = skin(rest, posed_from_rest(world, placed, joints), self.weights)
        shift = states.translation[:, None]
        return points + shift, placed + shift, world


class Variables:
    """What one stage may change: small turns of joints, shifts, and coefficients.

    Args:
        start: where it starts, which stays as it is.
        joints: joints that turn.
        translation: whether bodies move.
        betas: shape coefficients that change, one value for all frames.
        expression: whether expressions change.
    """

    def __init__(
        self,
        start: FrameStates,
        joints: Sequence[int],
        *,
        translation: bool,
        betas: Sequence[int] = (),
        expression: bool = False,
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, device=start.rotations.device, requires_grad=True)

        count = len(start)
        self.start = start
        self.joints = torch.tensor(list(joints), dtype=torch.long, device=start.rotations.device)
        self.shaped = torch.tensor(list(betas), dtype=torch.long, device=start.rotations.device)
        self.turns = zeros(count, len(joints), 3)
        self.shift = zeros(count, 3) if translation else None
        self.growth = zeros(len(betas)) if len(betas) else None
        self.mimic = zeros(*start.expression.shape) if expression else None

    def groups(self, rate: float) -> list[dict]:
        """Returns Adam's groups; metres and coefficients move at rates of their own.

        Args:
            rate: rad a step for joints.
        """
        rated = ((self.turns, 1.0), (self.shift, 0.5), (self.growth, 2.0), (self.mimic, 2.0))
        return [{"params": [v], "lr": rate * r} for v, r in rated if v is not None]

    def states(self) -> FrameStates:
        """Returns the states that the present values stand for."""
        start = self.start
        turned = axis_angle_to_matrix(self.turns) @ start.rotations[:, self.joints]
        betas, expression = start.betas, start.expression
        if self.growth is not None:
            betas = betas.index_add(0, self.shaped, self.growth)
        if self.mimic is not None:
            expression = expression + self.mimic
        return FrameStates(
            start.rotations.index_copy(1, self.joints, turned),
            start.translation if self.shift is None else start.translation + self.shift,
            betas,
            expression,
            start.offsets,
        )
