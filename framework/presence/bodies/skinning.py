"""Blend shapes, forward kinematics and linear blend skinning, as pure float32 torch functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

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
    device = rest_joints.device
    of_parents = index(tuple(max(p, 0) for p in parents), device)
    offset = rest_joints - rest_joints.index_select(-2, of_parents)
    world: list[Tensor] = [rotations[..., :1, :, :]]
    placed: list[Tensor] = [rest_joints[..., :1, :]]
    levels = kinematic_levels(tuple(parents))
    for level, above in zip(levels[1:], levels[:-1], strict=True):
        slot = {joint: index for index, joint in enumerate(above)}
        of_parent = index(tuple(slot[parents[joint]] for joint in level), device)
        own = index(level, device)
        turned = world[-1].index_select(-3, of_parent)  # [... n 3 3]
        moved = (turned @ offset.index_select(-2, own)[..., None]).squeeze(-1)
        placed.append(placed[-1].index_select(-2, of_parent) + moved)
        world.append(turned @ rotations.index_select(-3, own))
    flat = [joint for level in levels for joint in level]
    order = index(tuple(sorted(range(len(flat)), key=flat.__getitem__)), device)
    return torch.cat(world, -3).index_select(-3, order), torch.cat(placed, -2).index_select(
        -2, order
    )


@lru_cache(maxsize=256)
def index(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Returns numbers as an int64 tensor that stays on its device.

    Indexing with a list would copy it to the GPU at every call, and the host would wait.
    """
    return torch.tensor(numbers, device=device)


@lru_cache
def kinematic_levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Groups joints by their distance from the root, so that a level is computed at once.

    Example:
        >>> kinematic_levels((-1, 0, 0, 1))
        ((0,), (1, 2), (3,))
    """
    levels = [tuple(joint for joint, parent in enumerate(parents) if parent < 0)]
    while True:
        below = tuple(j for j, parent in enumerate(parents) if parent in levels[-1])
        if not below:
            return tuple(levels)
        levels.append(below)


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
