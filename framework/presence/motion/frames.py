"""`FrameSheet`: a motion under construction, written joint by joint and action by action."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies.joints import JOINT_NAMES
from presence.geometry import matrix_to_axis_angle
from presence.motion.clip import Motion
from presence.structures import BodyParams


class FrameSheet:
    """Collects what a built-in motion does; joints that are never written are not driven.

    Args:
        seconds: length of the motion.
        fps: frames a second.

    Attributes:
        time: [T] seconds of the frames.
    """

    def __init__(self, seconds: float, fps: float) -> None:
        self.fps = fps
        self.time = torch.arange(max(1, round(seconds * fps))) / fps
        self._pose = torch.zeros(len(self.time), 55, 3)
        self._translation = torch.zeros(len(self.time), 3)
        self._expression: dict[str, Tensor] = {}
        self._driven: set[int] = set()
        self._relative: set[int] = set()

    def set(self, joint: str, axis_angle: Tensor, *, relative: bool = False) -> None:
        """Drives a joint: [3] or [T 3] rotation vectors, rad."""
        index = JOINT_NAMES.index(joint)
        self._pose[:, index] = axis_angle
        self._driven.add(index)
        if relative:
            self._relative.add(index)

    def turn(
        self,
        joint: str,
        *,
        x: Tensor | float = 0.0,
        y: Tensor | float = 0.0,
        z: Tensor | float = 0.0,
        relative: bool = True,
    ) -> None:
        """Drives a joint by small angles about its axes, in degrees: [T] or one number each."""
        axes = [torch.as_tensor(a, dtype=torch.float32).expand(len(self.time)) for a in (x, y, z)]
        self.set(joint, torch.deg2rad(torch.stack(axes, -1)), relative=relative)

    def set_matrix(self, joint: str, matrix: Tensor) -> None:
        """Drives a joint by rotation matrices [3 3] or [T 3 3]."""
        self.set(joint, matrix_to_axis_angle(matrix))

    def act(self, action: str, amount: Tensor) -> None:
        """Adds [T] of an ARKit action, such as `mouthPucker`; `Both` means left and right."""
        names = [action]
        if action.endswith("Both"):
            names = [action[:-4] + side for side in ("Left", "Right")]
        for name in names:
            before = self._expression.get(name, torch.zeros_like(self.time))
            self._expression[name] = (before + amount).clamp(-1, 1)

    def move(self, translation: Tensor) -> None:
        """Moves the body by [T 3] metres along the person's axes (x to their left, z forward)."""
        self._translation = self._translation + translation

    def motion(self, name: str, *, ease: float) -> Motion:
        """Returns the finished motion."""
        frames = len(self.time)
        names = tuple(sorted(self._expression))
        values = [self._expression[action] for action in names]
        body = BodyParams(
            betas=torch.zeros(frames, 0),
            expression=torch.stack(values, -1) if values else torch.zeros(frames, 0),
            pose=self._pose,
            translation=self._translation,
        )
        return Motion(
            body=body,
            fps=self.fps,
            expression_names=names,
            joints=tuple(sorted(self._driven)),
            relative_joints=tuple(sorted(self._relative)),
            relative_expression=True,
            ease=ease,
            name=name,
        )
