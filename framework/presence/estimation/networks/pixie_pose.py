"""PIXIE's rotations brought into SMPL-X's 55 joints, each relative to its parent."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies.joints import JAW, LEFT_HAND, NUM_JOINTS, PARENTS, RIGHT_HAND
from presence.bodies.skinning import forward_kinematics
from presence.estimation.networks.pixie import PixieOutput
from presence.estimation.networks.rotations import matrix_from_rows, mirrored
from presence.geometry import matrix_to_axis_angle

NECK, HEAD, LEFT_WRIST, RIGHT_WRIST = 12, 15, 20, 21
PART_BODY = (*range(1, 12), 13, 14, *range(16, 20))  # joints of `PixieOutput.body`
# Largest believed turn of the head against the neck about x, y and z, rad; zero beyond.
HEAD_LIMITS = tuple(angle * torch.pi / 180 for angle in (20.0, 70.0, 10.0))


def smplx_pose(output: PixieOutput) -> Tensor:
    """Returns axis-angle [B 55 3] (rad) relative to the parents, hands absolute, eyes zero.

    PIXIE sees head and wrists in the camera's frame. They are turned back by what the chain above
    them does: neck for the head, elbows for the wrists.
    """
    matrices = torch.eye(3, device=output.root.device).repeat(len(output.root), NUM_JOINTS, 1, 1)
    matrices[:, 0] = matrix_from_rows(output.root)
    matrices[:, PART_BODY] = matrix_from_rows(output.body)
    matrices[:, NECK] = matrix_from_rows(output.neck)
    rest = torch.zeros(len(matrices), NUM_JOINTS, 3, device=matrices.device)
    chain, _ = forward_kinematics(matrices, rest, PARENTS)
    head = chain[:, PARENTS[HEAD]].mT @ matrix_from_rows(output.head)
    matrices[:, HEAD] = limited(head)
    wrists = ((LEFT_WRIST, mirrored(matrix_from_rows(output.left_wrist))),
              (RIGHT_WRIST, matrix_from_rows(output.right_wrist)))  # fmt: skip
    for joint, rotation in wrists:
        matrices[:, joint] = chain[:, PARENTS[joint]].mT @ rotation
    matrices[:, JAW] = euler_to_matrix(output.jaw)
    matrices[:, LEFT_HAND] = mirrored(matrix_from_rows(output.left_hand))
    matrices[:, RIGHT_HAND] = matrix_from_rows(output.right_hand)
    return matrix_to_axis_angle(matrices)


def limited(head: Tensor) -> Tensor:
    """Sets those Euler angles of a head rotation [B 3 3] to zero that no head has."""
    euler = matrix_to_euler(head)
    inside = euler.abs() <= euler.new_tensor(HEAD_LIMITS)
    return euler_to_matrix(torch.where(inside, euler, 0.0))


def euler_to_matrix(euler: Tensor) -> Tensor:
    """Converts angles [... 3] (rad) about x, y, z to R_x R_y R_z [... 3 3]."""
    (cx, cy, cz), (sx, sy, sz) = euler.cos().unbind(-1), euler.sin().unbind(-1)
    rows = (
        torch.stack([cy * cz, -cy * sz, sy], -1),
        torch.stack([cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy], -1),
        torch.stack([sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy], -1),
    )
    return torch.stack(rows, -2)


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Returns the angles [... 3] (rad) of R_x R_y R_z = [... 3 3], y within a quarter turn."""
    y = matrix[..., 0, 2].clamp(-1, 1).asin()
    x = torch.atan2(-matrix[..., 1, 2], matrix[..., 2, 2])
    z = torch.atan2(-matrix[..., 0, 1], matrix[..., 0, 0])
    return torch.stack([x, y, z], -1)
