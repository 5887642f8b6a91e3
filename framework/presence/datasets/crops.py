"""Head crops: a view seen through a window around the head, picture, mask and camera alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.interfaces import Body
from presence.structures import Portrait, View


class HeadWindows(nn.Module):
    """Finds the square around the head of batched views, from the body that is known there.

    Args:
        body: the body model of the views' parameters.
        margin: space around the head's vertices on every side, in head sizes*.
        smallest: side of a window at least, as a share of the picture's longer side*; smaller
            heads would only be enlarged blur.
    """

    def __init__(self, body: Body, *, margin: float = 0.35, smallest: float = 0.2) -> None:
        super().__init__()
        self.body, self.margin, self.smallest = body, margin, smallest

    @torch.no_grad()
    def forward(self, views: View) -> tuple[Tensor, Tensor]:
        """Returns the windows of views [B].

        Returns:
            windows: [B 3] left, top and side, px; they may leave the picture.
            usable: [B] whether the head's middle is in the picture, in front of the camera, and
                the window smaller than the picture.
        """
        height, width = views.portrait.size
        with torch.autocast(views.device.type, enabled=False):
            vertices = self.body(views.body).vertices[:, self.body.vertex_parts["head"]]
            px, depth = views.camera.project(vertices)  # [B V 2], [B V]
        low, high = px.amin(1), px.amax(1)
        middle, extent = (low + high) / 2, (high - low).amax(-1)
        side = ((1 + 2 * self.margin) * extent).clamp_min(self.smallest * max(height, width))
        bounds = px.new_tensor([width, height])
        inside = ((middle > 0) & (middle < bounds)).all(-1) & (depth.amin(1) > 0)
        usable = inside & (side < min(height, width))
        return torch.cat([middle - side[:, None] / 2, side[:, None]], -1), usable


def crop_view(views: View, windows: Tensor) -> View:
    """Shows views [B] through square windows, scaled to a square of the pictures' longer side.

    Bilinear, so meant for windows that are not much larger than the picture. Outside the picture
    colours repeat the border and the mask is 0.

    Args:
        views: batched, of one size.
        windows: [B 3] left, top and side, px.

    Returns:
        Views whose cameras are those of the windows.
    """
    height, width = views.portrait.size
    size = max(height, width)
    step = (torch.arange(size, device=windows.device) + 0.5) / size
    x = windows[:, 0, None] + step * windows[:, 2, None]  # [B size] px of the columns
    y = windows[:, 1, None] + step * windows[:, 2, None]
    columns, rows = 2 * x / width - 1, 2 * y / height - 1
    grid = torch.stack(
        [columns[:, None].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)], -1
    )
    rgb = F.grid_sample(views.portrait.rgb, grid, padding_mode="border", align_corners=False)
    alpha = F.grid_sample(views.portrait.alpha, grid, align_corners=False)
    scale = size / windows[:, 2]
    K = views.camera.K.clone()
    K[:, 0, 2] -= windows[:, 0]
    K[:, 1, 2] -= windows[:, 1]
    K[:, :2] *= scale[:, None, None]
    camera = views.camera.replace(K=K, width=size, height=size)
    return View(Portrait(rgb.clamp(0, 1), alpha.clamp(0, 1)), views.body, camera)
