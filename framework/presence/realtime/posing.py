"""Body parameters to posed Gaussians in three kernels, without waiting for the GPU."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from presence.bodies import Body
from presence.errors import AssetError
from presence.structures import Avatar, BodyParams, Gaussians, ProxyMesh

BLOCK = 128  # vertices or Gaussians a program


def can_fuse(avatar: Avatar, mesh: ProxyMesh) -> bool:
    """Whether `pose_fused` may stand in for torch: on CUDA, unless gradients reach the mesh."""
    posed = (mesh.vertices, mesh.skin_rotations)
    tensors = (*posed, avatar.canonical.means, avatar.canonical.quaternions)
    if not all(t.is_cuda and t.dtype == torch.float32 for t in tensors):
        return False
    if torch.is_grad_enabled() and any(t.requires_grad for t in posed):
        return False
    return avatar.batch_shape in (mesh.batch_shape, ()) and has_triton()


def pose_fused(avatar: Avatar, mesh: ProxyMesh) -> Gaussians:
    """Does what `Avatar.pose` does in two kernels; gradients reach the Gaussians, not the mesh.

    Args:
        avatar: canonical Gaussians, batched like the mesh.
        mesh: posed mesh of the same person.

    Raises:
        AssetError: Triton is not installed.
    """
    batch = mesh.batch_shape
    vertices, points = mesh.vertices.shape[-2], avatar.canonical.means.shape[-2]
    count = mesh.vertices[..., 0, 0].numel()
    rows = mesh.vertices.new_empty(count, vertices, 8)
    kernels = load_kernels()
    with on_device(rows):
        kernels.pack_vertices[(-(-vertices // BLOCK), count)](
            mesh.vertices.contiguous(),
            mesh.skin_rotations.contiguous(),
            rows,
            vertices,
            BLOCK=BLOCK,
        )
    means, quaternions = pose_points(avatar, rows, own=avatar.batch_shape == batch)
    canonical = avatar.canonical
    if avatar.batch_shape != batch:
        canonical = canonical.map(lambda t: t.expand(*batch, *t.shape))
    return canonical.replace(
        means=means.reshape(*batch, points, 3), quaternions=quaternions.reshape(*batch, points, 4)
    )


def pose_points(avatar: Avatar, rows: Tensor, *, own: bool) -> tuple[Tensor, Tensor]:
    """Returns means [B N 3] and quaternions [B N 4] of Gaussians on vertex rows [B V 8].

    Args:
        avatar: canonical Gaussians; its binding's ids may be int32.
        rows: positions and skinning quaternions of the vertices, see `pose_kernels`.
        own: whether the avatar has B entries, else one serves all.
    """
    canonical = avatar.canonical
    points = canonical.means.shape[-2]
    means, quaternions = canonical.means, canonical.quaternions
    if torch.is_grad_enabled() and (means.requires_grad or quaternions.requires_grad):
        batch = len(rows) if own else 1
        means, quaternions = means.reshape(batch, points, 3), quaternions.reshape(batch, points, 4)
        return _Carried.apply(means, quaternions, rows, avatar, own)
    return _carry(means, quaternions, rows, avatar, own)


class _Carried(torch.autograd.Function):
    """`pose_points` with gradients to the offsets [B N 3] and orientations [B N 4].

    Both are turned, a linear map, by the blended rotation; gradients are turned back by its
    inverse: the same kernel on conjugate quaternions at the origin.
    """

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quaternions: Tensor, rows: Tensor, avatar: Avatar, own: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.rows, ctx.avatar, ctx.own = rows, avatar.detach(), own
        return _carry(means, quaternions, rows, avatar, own)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        back = torch.cat([torch.zeros_like(ctx.rows[..., :4]), conjugate(ctx.rows[..., 4:])], -1)
        to_means, to_quaternions = grads
        turned = _carry(to_means, to_quaternions, back, ctx.avatar, True)
        if not ctx.own:
            turned = turned[0].sum(0, keepdim=True), turned[1].sum(0, keepdim=True)
        return (*turned, None, None, None)


def conjugate(quaternions: Tensor) -> Tensor:
    """Returns w, -x, -y, -z of quaternions [... 4], the inverse rotations of unit ones."""
    return torch.cat([quaternions[..., :1], -quaternions[..., 1:]], -1)


def _carry(
    offsets: Tensor, orientations: Tensor, rows: Tensor, avatar: Avatar, own: bool
) -> tuple[Tensor, Tensor]:
    """Runs the kernel; see `pose_points`."""
    binding = avatar.binding
    batch, vertices = rows.shape[:2]
    points = offsets.shape[-2]
    means, quaternions = rows.new_empty(batch, points, 3), rows.new_empty(batch, points, 4)
    keep = getattr(avatar, "keep_orientation", None)
    with on_device(rows):
        load_kernels().pose_points[(-(-points // BLOCK), batch)](
            rows,
            binding.vertex_ids.contiguous(),
            binding.barycentrics.contiguous(),
            offsets.contiguous(),
            orientations.contiguous(),
            rows if keep is None else keep.contiguous().view(torch.uint8),
            means,
            quaternions,
            vertices,
            points,
            points if own else 0,
            ROTATE=avatar.rotate_with_skin,
            KEEP=keep is not None,
            BLOCK=BLOCK,
        )
    return means, quaternions


class BodyPoser(nn.Module):
    """A body model of one person, prepared for many poses: parameters to vertex rows.

    Repeats `presence.bodies.Body` for a fixed shape: joint chains in one kernel, skinning over
    each vertex's few joints in another, expression (and pose correctives, where the file has any)
    as matrix products before.

    Args:
        body: a `presence.bodies.Body`.
        betas: [S] the person's shape.
        offsets: [V 3] metres of the person's rest vertices beyond it.
    """

    base: Tensor
    base_joints: Tensor
    joint_ids: Tensor
    joint_weights: Tensor
    ancestors: Tensor

    def __init__(self, body: Body, betas: Tensor, offsets: Tensor | None = None) -> None:
        super().__init__()
        self.body = body
        with torch.no_grad():
            betas = nn.functional.pad(betas.float(), (0, body.num_betas - betas.shape[-1]))
            neutral = betas.new_zeros(body.num_expression)
            constants = dict(
                base=body.rest_vertices(betas, neutral, offsets).flatten(),
                base_joints=body.rest_joints(betas, neutral).flatten(),
            )
        constants["joint_ids"], constants["joint_weights"] = few_weights(body.weights)
        constants["ancestors"] = jump_table(body.parents, load_kernels().JOINT_LANES).to(
            body.weights.device
        )
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def forward(self, params: BodyParams) -> tuple[Tensor, Tensor]:
        """Poses the body.

        Args:
            params: [B]; its betas and offsets are not looked at.

        Returns:
            rows [B V 8], see `pose_kernels`, and joints [B J 3], world metres.
        """
        kernels, body = load_kernels(), self.body
        batch, joints = params.pose.shape[:2]
        expression = params.expression.float()
        used = expression.shape[-1]
        rest = torch.addmm(self.base, expression, body.exprdirs[:used])  # [B V*3]
        rest_joints = torch.addmm(self.base_joints, expression, body.joint_exprdirs[:used])
        new = rest.new_empty
        transforms, positions, own = new(batch, joints, 12), new(batch, joints, 3), None
        own = new(batch, joints, 9)
        lanes, steps = self.ancestors.shape[1], self.ancestors.shape[0]
        vertices = self.base.shape[0] // 3
        rows = new(batch, vertices, 8)
        with on_device(rows):
            kernels.chain_joints[(batch,)](
                params.pose.float().contiguous(),
                rest_joints,
                params.translation.float().contiguous(),
                self.ancestors,
                new(batch, 2, lanes, 12),
                transforms,
                positions,
                own,
                joints,
                STEPS=steps,
                LANES=lanes,
                num_warps=2,
            )
            if body.posedirs is not None:
                turned = own[:, 1:] - torch.eye(3, device=own.device).flatten()
                rest = torch.addmm(rest, turned.flatten(1), body.posedirs)
            kernels.skin_vertices[(-(-vertices // BLOCK), batch)](
                rest,
                transforms,
                self.joint_ids,
                self.joint_weights,
                rows,
                vertices,
                joints,
                INFLUENCES=self.joint_ids.shape[1],
                BLOCK=BLOCK,
            )
        return rows, positions


def few_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns joints [V K] int32 and weights [V K] of each vertex's non-zero skinning weights.

    Args:
        weights: [V J]; K is the largest number of joints that move a vertex.

    Example:
        >>> few_weights(torch.tensor([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]))[0].tolist()
        [[2, 1], [0, 1]]
    """
    count = max(int((weights != 0).sum(-1).max()), 1)
    values, joints = weights.sort(dim=-1, descending=True, stable=True)
    return joints[:, :count].int().contiguous(), values[:, :count].float().contiguous()


def jump_table(parents: Sequence[int], lanes: int) -> Tensor:
    """Returns the 1st, 2nd, 4th, ... ancestor of each joint [steps lanes] int32, -1 for none.

    Raises:
        ValueError: more joints than lanes.

    Example:
        >>> jump_table((-1, 0, 1, 2), 4).tolist()
        [[-1, 0, 1, 2], [-1, -1, 0, 1]]
    """
    if len(parents) > lanes:
        raise ValueError(f"a body of {len(parents)} joints does not fit {lanes} lanes")
    step = list(parents) + [-1] * (lanes - len(parents))
    table = []
    while any(joint >= 0 for joint in step):
        table.append(step)
        step = [step[joint] if joint >= 0 else -1 for joint in step]
    return torch.tensor(table or [step], dtype=torch.int32)


def on_device(like: Tensor) -> contextlib.AbstractContextManager:
    """Makes the device of a tensor current, where Triton launches its kernels."""
    return torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()


def load_kernels() -> ModuleType:
    """Imports the Triton kernels.

    Raises:
        AssetError: Triton is not installed.
    """
    try:
        from presence.realtime import pose_kernels
    except ImportError as error:
        raise AssetError(
            f"fused posing needs the package `triton`, which comes with PyTorch for CUDA ({error})"
        ) from error
    return pose_kernels


@functools.cache
def has_triton() -> bool:
    """Whether the package `triton` is installed, which comes with PyTorch for CUDA."""
    import importlib.util

    return importlib.util.find_spec("triton") is not None
