"""Splats more than three channels with any renderer: three at a time."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.interfaces import GaussianRenderer
from presence.structures import Camera, Gaussians


def splat_features(
    renderer: GaussianRenderer, gaussians: Gaussians, features: Tensor, camera: Camera
) -> Tensor:
    """Renders features in place of colours, over zeros.

    A picture is linear in the Gaussians' colours, so each pass of three channels is exact; F
    channels cost F / 3 renderings, rounded up.

    Args:
        renderer: any.
        gaussians: [... N], whose colours do not matter.
        features: [... N F] of any sign and size.
        camera: batched like the Gaussians.

    Returns:
        [... F H W].
    """
    plain = {f.name: getattr(gaussians, f.name) for f in dataclasses.fields(Gaussians)}
    pieces = []
    for chunk in features.split(3, -1):
        colors = F.pad(chunk, (0, 3 - chunk.shape[-1]))
        drawn = renderer(Gaussians(**{**plain, "colors": colors}), camera).rgb
        pieces.append(drawn[..., : chunk.shape[-1], :, :])
    return torch.cat(pieces, -3)
