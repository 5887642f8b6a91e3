"""Rotations as axis-angle vectors, matrices, quaternions (w, x, y, z) and six numbers, in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """Converts rotation vectors [... 3] (rad) to unit quaternions [... 4], smooth at zero.

    Example:
        >>> axis_angle_to_quaternion(torch.zeros(3)).tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    squared = axis_angle.square().sum(-1, keepdim=True)
    small = squared < 1e-8
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    # sin(a/2)/a, by its series where a is so small that the quotient loses digits.
    factor = torch.where(small, 0.5 - squared / 48.0, torch.sin(angle / 2) / angle)
    real = torch.where(small, 1.0 - squared / 8.0, torch.cos(angle / 2))
    return torch.cat([real, axis_angle * factor], dim=-1)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Converts rotation vectors [... 3] (rad) to rotation matrices [... 3 3]."""
    return quaternion_to_matrix(axis_angle_to_quaternion(axis_angle))


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Converts quaternions [... 4] (normalised here) to rotation matrices [... 3 3]."""
    w, x, y, z = F.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    )
    return torch.stack(rows, -2)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Converts rotation matrices [... 3 3] to unit quaternions [... 4] with w >= 0.

    Takes, of the four candidate formulas, the one whose divisor is largest, so that no
    rotation is ill-conditioned; nearly orthogonal matrices (blended skinning transforms) give
    the quaternion of a nearby rotation.
    """
    m = matrix.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], -1
    ).clamp_min(1e-12)
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, squares[..., 1], m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, squares[..., 2], m12 + m21], -1),
            torch.stack([m10 - m01, m20 + m02, m21 + m12, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = F.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Converts rotation matrices [... 3 3] to rotation vectors [... 3] of length at most pi."""
    quaternion = matrix_to_quaternion(matrix)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    sine = imaginary.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, real)
    return imaginary * torch.where(
        sine < 1e-6, 2.0 / real.clamp_min(0.5), angle / sine.clamp_min(1e-12)
    )


def quaternion_multiply(left: Tensor, right: Tensor) -> Tensor:
    """Composes rotations: `left` [... 4] after `right` [... 4]."""
    lw, lx, ly, lz = left.unbind(-1)
    rw, rx, ry, rz = right.unbind(-1)
    return torch.stack(
        [
            lw * rw - lx * rx - ly * ry - lz * rz,
            lw * rx + lx * rw + ly * rz - lz * ry,
            lw * ry - lx * rz + ly * rw + lz * rx,
            lw * rz + lx * ry - ly * rx + lz * rw,
        ],
        -1,
    )


def quaternion_rotate(quaternion: Tensor, vector: Tensor) -> Tensor:
    """Rotates vectors [... 3] by unit quaternions [... 4]."""
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    cross = 2 * torch.linalg.cross(imaginary, vector)
    return vector + real * cross + torch.linalg.cross(imaginary, cross)


def rotation_6d_to_matrix(six: Tensor) -> Tensor:
    """Orthonormalises two column vectors [... 6] (first column, then second) to [... 3 3].

    Source: Zhou et al., "On the Continuity of Rotation Representations", Eq. 14-15.
    """
    first = F.normalize(six[..., :3], dim=-1)
    second = six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first
    second = F.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Returns unit outward normals [... V 3] of a mesh, averaged over faces by area.

    Args:
        vertices: [... V 3].
        faces: [F 3] vertex indices, counter-clockwise seen from outside.
    """
    corners = vertices[..., faces, :]  # [... F 3 3]
    weighted = torch.linalg.cross(
        corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    )
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals = normals.index_add(-2, faces[:, corner], weighted)
    return F.normalize(normals, dim=-1)
