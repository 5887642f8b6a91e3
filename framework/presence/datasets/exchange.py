"""Rendered pairs used both ways: every view is exact, so either may teach the other."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.bodies.joints import JOINT_NAMES, PARENTS
from presence.geometry import axis_angle_to_matrix
from presence.structures import TrainSample, View, stack


def exchange_views(sample: TrainSample, *, widest: float = math.radians(75)) -> TrainSample:
    """Makes targets of references and references of targets, where the new ones show the face.

    Args:
        sample: a batch [B] of rendered pairs.
        widest: rad between where the head looks and the direction to the camera, up to which a
            target may become a reference; the other pairs stay as they are.
    """
    both = stack([sample.reference, sample.target])
    second = (_face_angle(sample.target) < widest).long()
    rows = torch.arange(len(second), device=second.device)
    return sample.replace(reference=both[second, rows], target=both[1 - second, rows])


def _face_angle(view: View) -> Tensor:
    """Returns the angle between where the head looks and the way back to the camera [B], rad."""
    turns = axis_angle_to_matrix(view.body.pose)
    joint = JOINT_NAMES.index("head")
    looks = turns[:, joint, :, 2]  # the head's +z
    while joint:
        joint = PARENTS[joint]
        looks = (turns[:, joint] @ looks[..., None])[..., 0]
    to_camera = -view.camera.cam_from_world[:, 2, :3]  # against the optical axis
    return torch.acos(F.cosine_similarity(looks, to_camera, dim=-1).clamp(-1, 1))
