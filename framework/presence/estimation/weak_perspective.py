"""Cameras of crops without perspective, s (X + t), as pinhole cameras of the whole picture."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.structures import Camera, focal_from_fov


def picture_camera(
    width: int, height: int, *, K: Tensor | None = None, fov: float = 20.0
) -> Camera:
    """Returns a picture's camera, with the world as the camera's frame.

    Args:
        width: px.
        height: px.
        K: [3 3] px where it is known.
        fov: degrees across the longer side where it is not.
    """
    if K is None:
        focal = focal_from_fov(fov, max(width, height))
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Camera(K.float(), torch.eye(4).to(K.device), width, height)


def translation_of(scale_and_shift: Tensor, box: Tensor, K: Tensor) -> Tensor:
    """Returns where a model stands so that perspective sees it as s (X + t) did.

    At the depth of the model's origin both agree exactly; points before and behind it differ by
    what perspective is.

    Args:
        scale_and_shift: [3] s, tx, ty in -1..1 of the crop, x right, y down; s > 0.
        box: [4] the square crop, px of the picture.
        K: [3 3] px of the picture.

    Returns:
        [3] metres, OpenCV axes.
    """
    scale, shift = scale_and_shift[0], scale_and_shift[1:]
    px_per_m = scale * (box[2] - box[0]) / 2
    focal = torch.stack([K[0, 0], K[1, 1]])
    depth = focal.mean() / px_per_m
    centre = (box[:2] + box[2:]) / 2
    # At the origin: centre + px_per_m * shift = focal * translation / depth + principal point.
    across = (centre + px_per_m * shift - K[:2, 2]) * depth / focal
    return torch.cat([across, depth[None]])
