"""Pinhole cameras in OpenCV axes (+x right, +y down, +z forward), pixel centres at +0.5."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from presence.structures.base import TensorStruct, static, tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Camera(TensorStruct):
    """A calibrated pinhole camera without distortion.

    Attributes:
        K: [... 3 3] intrinsics in pixels.
        cam_from_world: [... 4 4] rigid transform, metres.
        width: picture width in pixels, the same for a whole batch.
        height: picture height in pixels.
    """

    K: Tensor = tensor("3 3", unit="px")
    cam_from_world: Tensor = tensor("4 4", unit="m")
    width: int = static(default=512)
    height: int = static(default=512)

    def to_cam(self, points: Tensor) -> Tensor:
        """Transforms world points [... N 3] to camera space [... N 3], metres."""
        rotation, translation = self.cam_from_world[..., :3, :3], self.cam_from_world[..., :3, 3]
        return points @ rotation.transpose(-1, -2) + translation[..., None, :]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Projects world points [... N 3] to pixels [... N 2] and camera depths [... N] (m)."""
        cam = self.to_cam(points)
        depth = cam[..., 2]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        homogeneous = cam / safe[..., None]
        return (homogeneous @ self.K.transpose(-1, -2))[..., :2], depth

    def screen(self, points: Tensor) -> Tensor:
        """Returns [... N 3] of pixel x, pixel y and camera depth, as mesh rasterizers take it."""
        px, depth = self.project(points)
        return torch.cat([px, depth[..., None]], -1)

    def contains(self, px: Tensor) -> Tensor:
        """Tells which pixel positions [... 2] lie in the picture: [...] bool."""
        x, y = px.unbind(-1)
        return (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height)

    @property
    def position(self) -> Tensor:
        """The optical centre in the world [... 3], metres."""
        rotation, translation = self.cam_from_world[..., :3, :3], self.cam_from_world[..., :3, 3]
        return -(rotation.transpose(-1, -2) @ translation[..., None])[..., 0]

    def resized(self, width: int, height: int) -> Camera:
        """Returns the camera of the same picture scaled to `width` x `height` pixels."""
        # Row by row: a small tensor of factors would make the host wait for its copy to a GPU.
        x, y, rest = self.K[..., :1, :], self.K[..., 1:2, :], self.K[..., 2:, :]
        K = torch.cat([x * (width / self.width), y * (height / self.height), rest], -2)
        return self.replace(K=K, width=width, height=height)

    def cropped(self, left: float, top: float, width: int, height: int) -> Camera:
        """Returns the camera of a window at corner (left, top) px; it may leave the picture."""
        shift = torch.zeros_like(self.K)
        shift[..., 0, 2], shift[..., 1, 2] = left, top
        return self.replace(K=self.K - shift, width=width, height=height)

    @classmethod
    def look_at(
        cls, eye: Tensor, target: Tensor, fov: float | Tensor, width: int, height: int
    ) -> Camera:
        """Builds a camera at `eye` that looks at `target` with +y of the world up.

        Args:
            eye: [... 3] metres.
            target: [... 3] metres.
            fov: vertical field of view, radians; a number or a tensor [...].
            width: picture width, px.
            height: picture height, px.

        Example:
            >>> cam = Camera.look_at(
            ...     torch.tensor([0., 0., 2.]), torch.zeros(3), math.radians(20), 64, 64)
            >>> cam.project(torch.zeros(1, 3))[0].tolist()
            [[32.0, 32.0]]
        """
        forward = torch.nn.functional.normalize(target - eye, dim=-1)
        up = torch.zeros_like(forward)
        up[..., 1] = 1.0
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], -2)
        pose = torch.zeros(*eye.shape[:-1], 4, 4, dtype=eye.dtype, device=eye.device)
        pose[..., :3, :3], pose[..., 3, 3] = rotation, 1.0
        pose[..., :3, 3] = -(rotation @ eye[..., None])[..., 0]
        return cls(intrinsics(fov, width, height, like=eye), pose, width, height)


def intrinsics(fov: float | Tensor, width: int, height: int, *, like: Tensor) -> Tensor:
    """Returns K [... 3 3] of a vertical field of view (rad) with the centre in the middle."""
    fov = torch.as_tensor(fov, dtype=like.dtype, device=like.device)
    focal = (height / 2) / torch.tan(fov / 2)
    K = torch.zeros(*like.shape[:-1], 3, 3, dtype=like.dtype, device=like.device)
    K[..., 0, 0], K[..., 1, 1], K[..., 2, 2] = focal, focal, 1.0
    K[..., 0, 2], K[..., 1, 2] = width / 2, height / 2
    return K


def focal_from_fov(fov_degrees: float, extent: float) -> float:
    """Returns the focal length in pixels for a field of view across `extent` pixels."""
    return (extent / 2) / math.tan(math.radians(fov_degrees) / 2)
