"""Colours for texels that a portrait does not show: the mirrored one, else the mean."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.interfaces import Body
from presence.projection.surface import SurfaceMap


def mirrored_points(body: Body, surface: SurfaceMap) -> Tensor:
    """Returns [N] for each surface point the point nearest to its left-right mirror image."""
    from scipy.spatial import cKDTree

    with torch.no_grad():
        rest = body(body.default_params()).rest_vertices.cpu()
    points = surface.binding.to("cpu").interpolate(rest).double().numpy()
    _, nearest = cKDTree(points).query(points * [-1.0, 1.0, 1.0])
    return torch.as_tensor(nearest, dtype=torch.long)


def complete_colours(colours: Tensor, seen: Tensor, mirror: Tensor) -> Tensor:
    """Fills unseen texels in closed form.

    Args:
        colours: [B N 3], anything where unseen.
        seen: [B N 1], 1 where the portrait shows the texel, else 0.
        mirror: [N] the texel that mirrors each one, see `mirrored_points`.

    Returns:
        [B N 3]: seen colours as they are; unseen ones from the mirrored texel; where that is
        unseen too, the mean of all others (0 if there are none).
    """
    mirrored, mirrored_seen = colours[:, mirror], seen[:, mirror]
    colours = colours * seen + mirrored * mirrored_seen * (1 - seen)
    known = torch.maximum(seen, mirrored_seen)
    mean = (colours * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
    return colours * known + mean * (1 - known)
