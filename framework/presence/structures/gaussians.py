"""3D Gaussians in the world, and avatars: Gaussians bound to a body surface."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.geometry import matrix_to_quaternion, quaternion_multiply, quaternion_rotate
from presence.structures.base import TensorStruct, static, tensor
from presence.structures.body import BodyParams, ProxyMesh
from presence.structures.camera import Camera


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussians(TensorStruct):
    """A set of 3D Gaussians with one colour each.

    Attributes:
        means: [... N 3] centres, metres.
        quaternions: [... N 4] orientation (w, x, y, z).
        scales: [... N 3] standard deviations along the Gaussian's own axes, metres.
        opacities: [... N] in 0..1.
        colors: [... N 3] in 0..1, sRGB.
    """

    means: Tensor = tensor("N 3", unit="m")
    quaternions: Tensor = tensor("N 4")
    scales: Tensor = tensor("N 3", unit="m")
    opacities: Tensor = tensor("N")
    colors: Tensor = tensor("N 3")


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureGaussians(Gaussians):
    """Gaussians that carry features for a network that works on splatted features.

    Attributes:
        features: [... N F] of any sign and size; what has no such network draws `colors`.
    """

    features: Tensor = tensor("N F")


@dataclasses.dataclass(frozen=True, eq=False)
class SurfaceBinding(TensorStruct):
    """Where on the body's surface each Gaussian sits (paper Eq. 1).

    Attributes:
        vertex_ids: [N 3] the corners of the triangle it sits in.
        barycentrics: [N 3] weights of the corners.
        uv: [N 2] texture coordinates, v upwards.
    """

    vertex_ids: Tensor = tensor("N 3")
    barycentrics: Tensor = tensor("N 3")
    uv: Tensor = tensor("N 2")

    def interpolate(self, vertex_values: Tensor) -> Tensor:
        """Interpolates values [... V C] of the vertices to the bound points [... N C]."""
        weights = self.barycentrics.to(vertex_values.dtype)
        points = weights[:, 0, None] * vertex_values[..., self.vertex_ids[:, 0], :]
        for corner in (1, 2):
            values = vertex_values[..., self.vertex_ids[:, corner], :]
            points = points + weights[:, corner, None] * values
        return points

    def blend_rotations(self, vertex_rotations: Tensor) -> Tensor:
        """Blends rotations [... V 3 3] of the vertices to quaternions [... N 4] of the points."""
        corners = matrix_to_quaternion(vertex_rotations)[..., self.vertex_ids, :]
        # q and -q are one rotation: put all corners on the first one's side before blending.
        side = (corners * corners[..., :1, :]).sum(-1, keepdim=True)
        weights = self.barycentrics[..., None] * side.sign().detach()
        return F.normalize((corners * weights).sum(-2), dim=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Avatar(TensorStruct):
    """An animatable person: canonical Gaussians bound to the body surface.

    Attributes:
        canonical: Gaussians in the axes of the rest pose; `means` are offsets from the bound
            surface points, in metres.
        body: the person's parameters in the portrait (shape is kept when animating).
        camera: the portrait's camera.
        binding: the bound surface points, shared by a batch.
        rotate_with_skin: whether skinning turns the Gaussians' orientation and offset.
        keep_orientation: [N] bool, Gaussians whose offset alone is turned, as LAM does with all
            of them; None where orientations turn as well.
    """

    canonical: Gaussians
    body: BodyParams
    camera: Camera
    binding: SurfaceBinding = static()
    rotate_with_skin: bool = static(default=True)
    keep_orientation: Tensor | None = static(default=None)

    def pose(self, mesh: ProxyMesh) -> Gaussians:
        """Carries the canonical Gaussians to a posed mesh of the same person.

        Surface points follow shape, expression and skinning; the skinning rotation, blended as
        quaternions, turns offset and orientation (design section 4, Animation). On CUDA, where no
        gradients reach the mesh, a fused kernel does the same.

        Args:
            mesh: posed mesh, batched like the avatar.
        """
        if mesh.vertices.is_cuda:
            from presence.realtime.posing import can_fuse, pose_fused

            if can_fuse(self, mesh):
                return pose_fused(self, mesh)
        return self.pose_reference(mesh)

    def pose_reference(self, mesh: ProxyMesh) -> Gaussians:
        """`pose` in plain torch, differentiable throughout: the path of the CPU."""
        points = self.binding.interpolate(mesh.vertices)
        turned = self._turned(self.binding.blend_rotations(mesh.skin_rotations))
        return turned.replace(means=points + turned.means)

    def from_pose(self, mesh: ProxyMesh) -> Avatar:
        """Returns an avatar in the rest pose from Gaussians in the axes of another pose.

        Posed to that mesh, the result has exactly the offsets and orientations of this one.

        Args:
            mesh: of the pose that `canonical` was decoded in, batched like the avatar.
        """
        turn = self.binding.blend_rotations(mesh.skin_rotations)
        return self.replace(canonical=self._turned(turn * turn.new_tensor([1, -1, -1, -1])))

    def _turned(self, turn: Tensor) -> Gaussians:
        """Turns offsets and orientations by unit quaternions [... N 4], as far as they turn."""
        if not self.rotate_with_skin:
            return self.canonical
        offsets = quaternion_rotate(turn, self.canonical.means)
        orientation = quaternion_multiply(turn, self.canonical.quaternions)
        if self.keep_orientation is not None:
            kept = self.keep_orientation[:, None]
            orientation = torch.where(kept, self.canonical.quaternions, orientation)
        return self.canonical.replace(means=offsets, quaternions=orientation)
