"""Windows of a picture that estimators look at: their boxes, and the pixels inside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def box_of(points: Tensor) -> Tensor:
    """Returns left, top, right, bottom [4] of points [K 2]."""
    return torch.cat([points.amin(0), points.amax(0)])


def clipped(box: Tensor, width: int, height: int) -> Tensor:
    """Cuts a box [4] off at the picture's edges."""
    limit = box.new_tensor([width, height, width, height])
    return torch.minimum(box.clamp_min(0), limit)


def widened(box: Tensor, aspect: float, scale: float) -> Tensor:
    """Grows a box [4] about its centre to a shape, then by a factor.

    Args:
        box: left, top, right, bottom, px.
        aspect: width over height of the result; the side that is too short grows.
        scale: of both sides afterwards.

    Example:
        >>> widened(torch.tensor([0.0, 0, 10, 40]), 0.75, 1.0).tolist()
        [-10.0, 0.0, 20.0, 40.0]
    """
    centre, (width, height) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).unbind()
    width = torch.maximum(width, height * aspect)
    half = torch.stack([width, width / aspect]) * (scale / 2)
    return torch.cat([centre - half, centre + half])


def crop_from_px(box: Tensor, width: int, height: int) -> Tensor:
    """Returns the transform [3 3] that takes a box [4] of picture pixels onto a whole crop."""
    scale = box.new_tensor([width, height]) / (box[2:] - box[:2])
    matrix = torch.diag(torch.cat([scale, scale.new_ones(1)]))
    matrix[:2, 2] = -box[:2] * scale
    return matrix


def warped(image: Tensor, crop_from_px: Tensor, width: int, height: int) -> Tensor:
    """Samples a crop [C height width] bilinearly out of a picture [C H W], zero outside.

    Nothing is blurred before reduction, as in the released pipelines.

    Args:
        image: [C H W].
        crop_from_px: [3 3] affine, pixels of the picture to pixels of the crop, centres at +0.5.
        width: of the crop, px.
        height: of the crop, px.
    """
    theta = crop_from_px.double().inverse()
    x = torch.arange(width, dtype=torch.float64, device=image.device) + 0.5
    y = torch.arange(height, dtype=torch.float64, device=image.device) + 0.5
    at = torch.stack([*torch.meshgrid(x, y, indexing="xy")], -1)  # [h w 2]
    at = at @ theta[:2, :2].T + theta[:2, 2]
    size = at.new_tensor([image.shape[-1], image.shape[-2]])
    grid = (at / size * 2 - 1).to(image.dtype)
    return F.grid_sample(image[None], grid[None], align_corners=False)[0]


def share_inside(points: Tensor, width: int, height: int) -> float:
    """Returns which share of points [K 2] px lies in the picture."""
    inside = (points >= 0) & (points < points.new_tensor([width, height]))
    return float(inside.all(-1).float().mean())


def box_share_inside(box: Tensor, width: int, height: int) -> float:
    """Returns which share of a box's area [4] lies in the picture."""
    sides = (clipped(box, width, height)[2:] - clipped(box, width, height)[:2]).clamp_min(0)
    return float(sides.prod() / (box[2:] - box[:2]).prod().clamp_min(1e-6))
