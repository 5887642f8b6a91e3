"""From HaMeR's crop camera to one of the whole picture: the same pixels, another translation."""

from __future__ import annotations

import torch
from torch import Tensor

CROP_FOCAL, CROP_SIDE = 5000.0, 256  # px


def picture_focal(width: int, height: int) -> float:
    """Returns the focal length (px) of the whole picture's camera."""
    return CROP_FOCAL / CROP_SIDE * max(width, height)


def picture_translation(
    camera: Tensor, centre: Tensor, side: Tensor, width: int, height: int
) -> Tensor:
    """Returns where a model stands [... 3] (m) before the picture's camera, centred in it.

    Args:
        camera: [... 3] scale, tx, ty; tx negated before for a mirrored hand.
        centre: [... 2] of the crop, px.
        side: [...] of the square crop, px.
        width: of the picture, px.
        height: of the picture, px.
    """
    apparent = (side * camera[..., 0] + 1e-9)[..., None]
    across = camera[..., 1:] + 2 * (centre - centre.new_tensor([width / 2, height / 2])) / apparent
    return torch.cat([across, 2 * picture_focal(width, height) / apparent], -1)
