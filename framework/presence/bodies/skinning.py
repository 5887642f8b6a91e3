"""Blend shapes, forward kinematics and linear blend skinning, as pure float32 torch functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def blend_shapes(coefficients: Tensor, directions: Tensor) -> Tensor:
    """Returns vertex offsets [... V 3] of coefficients [... C] over directions [C V*3].

    Source: SMPL (Loper et al. 2015), Eq. 8.
    """
    offsets = coefficients @ directions  # [... V*3]
    return offsets.unflatten(-1, (-1, 3))


def forward_kinematics(
    rotations: Tensor, rest_joints: Tensor, parents: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Chains joint rotations from the root outwards.

    Args:
        rotations: [... J 3 3] of each joint relative to its parent.
        rest_joints: [... J 3] joint positions in the rest pose, metres.
        parents: parent of each joint, -1 for the root; parents come before children.

    Returns:
        World rotations [... J 3 3] and positions [... J 3] of the posed joints.

    Source: SMPL (Loper et al. 2015), Eq. 3-4; rest joint frames are world-aligned.
    """
    world_rotations, positions = [rotations[..., 0, :, :]], [rest_joints[..., 0, :]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = rest_joints[..., joint, :] - rest_joints[..., parent, :]
        turned = (world_rotations[parent] @ bone[..., None]).squeeze(-1)
        positions.append(positions[parent] + turned)
        world_rotations.append(world_rotations[parent] @ rotations[..., joint, :, :])
    return torch.stack(world_rotations, -3), torch.stack(positions, -2)


def posed_from_rest(world_rotations: Tensor, positions: Tensor, rest_joints: Tensor) -> Tensor:
    """Returns each joint's affine transform [... J 3 4] from rest space to posed space."""
    moved = (world_rotations @ rest_joints[..., None]).squeeze(-1)
    return torch.cat([world_rotations, (positions - moved)[..., None]], -1)


def skin(points: Tensor, transforms: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Moves rest points by blended joint transforms.

    Args:
        points: [... V 3] rest positions, metres.
        transforms: [... J 3 4] posed-from-rest transform of each joint.
        weights: [V J] skinning weights, rows sum to one.

    Returns:
        Posed points [... V 3] and the blended linear part [... V 3 3].

    Source: SMPL (Loper et al. 2015), Eq. 2.
    """
    blended = (weights @ transforms.flatten(-2)).unflatten(-1, (3, 4))  # [... V 3 4]
    linear, shift = blended[..., :3], blended[..., 3]
    return (linear @ points[..., None]).squeeze(-1) + shift, linear
