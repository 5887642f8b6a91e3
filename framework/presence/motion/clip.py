"""`Motion`: body parameters over time, and what of them is meant relative to the person."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.geometry import (
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    quaternion_to_matrix,
)
from presence.structures import BodyParams, TensorStruct, static

NUM_JOINTS = 55


@dataclasses.dataclass(frozen=True, eq=False)
class Motion(TensorStruct):
    """A clip of body parameters, one batch entry a frame.

    Attributes:
        body: [T] frames; `betas` may be empty and `offsets` None, as a person keeps their own
            shape.
        fps: frames a second.
        expression_names: a name for each expression coefficient; empty if the coefficients
            belong to one body model and are taken by position.
        joints: the joints that the motion drives; the others stay as they were tracked.
        relative_joints: those of `joints` whose rotation is added to the tracked one.
        relative_expression: whether the expression is added to the tracked one.
        upright: whether the pelvis leans as in the motion, rather than as the person was tracked.
        ease: seconds over which the motion starts from and returns to the tracked pose.
        name: for messages.
    """

    body: BodyParams
    fps: float = static(default=24.0)
    expression_names: tuple[str, ...] = static(default=())
    joints: tuple[int, ...] = static(default=tuple(range(NUM_JOINTS)))
    relative_joints: tuple[int, ...] = static(default=())
    relative_expression: bool = static(default=False)
    upright: bool = static(default=False)
    ease: float = static(default=0.0)
    name: str = static(default="motion")

    def __len__(self) -> int:
        return int(self.body.pose.shape[0])

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self) / self.fps

    def resampled(self, fps: float) -> Motion:
        """Returns the same motion at another frame rate.

        Rotations are interpolated on the shortest arc, everything else linearly.

        Example:
            >>> from presence.motion import builtin_motion
            >>> len(builtin_motion("wave", fps=24).resampled(12)) * 2
            72
        """
        if fps == self.fps or len(self) < 2:
            return self.replace(fps=fps) if len(self) < 2 else self
        count = max(1, round(self.duration * fps))
        times = (torch.arange(count) * (self.fps / fps)).clamp(max=len(self) - 1)
        before = times.floor().long().clamp(max=len(self) - 2)
        weight = (times - before).to(self.body.pose)
        lerp = {
            name: torch.lerp(value[before], value[before + 1], weight[:, None])
            for name in ("betas", "expression", "translation")
            for value in (getattr(self.body, name),)
        }
        pose = slerp(self.body.pose[before], self.body.pose[before + 1], weight[:, None])
        return self.replace(body=BodyParams(pose=pose, **lerp), fps=fps)


def slerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Interpolates rotation vectors [... 3] along the shortest arc.

    Args:
        start: where `weight` is 0.
        end: where `weight` is 1.
        weight: [...], broadcast over the rotations.
    """
    first, second = axis_angle_to_quaternion(start), axis_angle_to_quaternion(end)
    cosine = (first * second).sum(-1, keepdim=True)
    second = torch.where(cosine < 0, -second, second)
    angle = torch.acos(cosine.abs().clamp(max=1.0))
    sine = torch.sin(angle)
    t = weight[..., None]
    near = sine < 1e-4  # almost equal: the chord is the arc
    safe = torch.where(near, torch.ones_like(sine), sine)
    left = torch.where(near, 1 - t, torch.sin((1 - t) * angle) / safe)
    right = torch.where(near, t, torch.sin(t * angle) / safe)
    return matrix_to_axis_angle(quaternion_to_matrix(left * first + right * second))
