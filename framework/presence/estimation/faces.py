"""Crops of a face as DECA and ArcFace were trained on, from MediaPipe's face landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

# MediaPipe's landmarks nearest to the 68 of the usual face markup, in its order: jaw from the
# person's right to left, brows, nose, eyes, outer and inner lips. The two schemes are not the
# same points: jaw points of the 68 move to the visible contour when the head turns.
LANDMARKS_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
# ArcFace's five points on its 112 x 112 picture (Deng et al., 2019): eyes, nose tip, mouth corners,
# the person's right first.
ARCFACE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# The same five among the 68: each the mean of these.
FIVE_OF_68 = ((38, 41), (44, 46), (30,), (60,), (64,))
DECA_SCALE = 1.1 * 1.25  # side of the crop over the mean side of the landmarks' box


def to_68(points: Tensor) -> Tensor:
    """Returns the 68 landmarks [68 D] nearest to MediaPipe's [478 D] or [468 D]."""
    return points[list(LANDMARKS_68)]


def deca_square(points: Tensor) -> Tensor:
    """Returns DECA's square [3] (centre x, centre y, side) px around 68 landmarks [68 2] px."""
    low, high = points.amin(0), points.amax(0)
    side = (high - low).mean() * DECA_SCALE
    return torch.cat([(low + high) / 2, side[None]])


def arcface_from_px(points: Tensor) -> Tensor:
    """Returns the similarity [3 3] from picture to ArcFace's 112 x 112, from 68 landmarks [68 2].

    Its five points come as near to ArcFace's as rotation, scale and shift allow.
    """
    five = torch.stack([points[list(group)].mean(0) for group in FIVE_OF_68])
    return similarity(five, five.new_tensor(ARCFACE))


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """Returns the similarity [3 3] that takes points [K 2] nearest to others, without mirroring.

    Source: Umeyama (1991) in two dimensions, where points are complex numbers and rotation and
    scale one factor.

    Example:
        >>> corners = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
        >>> (similarity(corners, 2 * corners + 3) @ torch.tensor([1.0, 2, 1])).tolist()
        [5.0, 7.0, 1.0]
    """
    source, target = source.double(), target.double()
    from_mean, to_mean = source.mean(0), target.mean(0)
    a, b = source - from_mean, target - to_mean
    power = a.square().sum()
    cosine = (a * b).sum() / power
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    turn = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    matrix = torch.eye(3, dtype=source.dtype, device=source.device)
    matrix[:2, :2], matrix[:2, 2] = turn, to_mean - turn @ from_mean
    return matrix.float()
