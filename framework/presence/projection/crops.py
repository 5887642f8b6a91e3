"""Square crops of a part of the body, cut out of portraits where the posed mesh projects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.structures import Camera, Portrait, ProxyMesh


def part_window(mesh: ProxyMesh, camera: Camera, vertex_ids: Tensor, margin: float) -> Tensor:
    """Returns [B 3]: column and row of the centre and the side, px, of a square around a part.

    Args:
        mesh: posed, batched.
        camera: of the portraits.
        vertex_ids: [n] vertices of the part.
        margin: side of the window over the longer side of the part's bounding box.
    """
    pixels, _ = camera.project(mesh.vertices[..., vertex_ids, :])  # [B n 2]
    low, high = pixels.amin(-2), pixels.amax(-2)
    side = margin * (high - low).amax(-1, keepdim=True).clamp_min(2.0)
    return torch.cat([(low + high) / 2, side], -1)


def crop_windows(portrait: Portrait, window: Tensor, size: int) -> Portrait:
    """Cuts a window out of each portrait of a batch and scales it to `size` x `size` pixels.

    Outside the portrait, colours repeat the border and alpha is 0.

    Args:
        portrait: batched.
        window: [B 3] from `part_window`.
        size: side of the results, px.
    """
    with torch.autocast(portrait.device.type, enabled=False):
        # Two samples along a pixel's side, averaged: heads are rarely larger than the crop.
        steps = (torch.arange(2 * size, device=window.device) + 0.5) / (2 * size) - 0.5
        x = window[:, 0, None] + window[:, 2, None] * steps  # [B 2s] px
        y = window[:, 1, None] + window[:, 2, None] * steps
        height, width = portrait.size
        grid = torch.stack(
            torch.broadcast_tensors(2 * x[:, None] / width - 1, 2 * y[:, :, None] / height - 1), -1
        )
        rgb = F.grid_sample(portrait.rgb.float(), grid, padding_mode="border", align_corners=False)
        alpha = F.grid_sample(portrait.alpha.float(), grid, align_corners=False)
        return Portrait(F.avg_pool2d(rgb, 2), F.avg_pool2d(alpha, 2))
