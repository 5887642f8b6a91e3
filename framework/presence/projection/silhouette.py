"""What the portrait says about points off the body surface: mask probes, carving, colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.structures import Camera, Portrait


def sample_picture(maps: Tensor, points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Samples maps that span the portrait where points project.

    Args:
        maps: [B C h w].
        points: [B N 3], metres, in the world.
        camera: the portrait's, [B].

    Returns:
        values: [B N C], bilinear.
        known: [B N] 1 where the picture covers the projection, 0 beyond its borders.
    """
    px, depth = camera.project(points)
    x, y = 2 * px[..., 0] / camera.width - 1, 2 * px[..., 1] / camera.height - 1
    known = ((x.abs() < 1) & (y.abs() < 1) & (depth > 0)).to(maps.dtype)
    grid = torch.stack([x, y], -1)[:, :, None]
    values = F.grid_sample(maps, grid, align_corners=False, padding_mode="border")
    return values[..., 0].transpose(1, 2), known


def mask_at(alpha: Tensor, points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Reads the mask [B 1 H W] where points [B N 3] project: alpha and known, [B N] each."""
    values, known = sample_picture(alpha, points, camera)
    return values[..., 0], known


def probe_mask(
    alpha: Tensor, points: Tensor, normals: Tensor, camera: Camera, distances: Tensor
) -> Tensor:
    """Asks the mask how far the person reaches beyond the body.

    Walks from each surface point along its normal and reads the mask at every stop: near the
    body's outline this says how thick hair or cloth is there.

    Args:
        alpha: [B 1 H W].
        points: [B N 3] on the posed body, metres.
        normals: [B N 3], unit.
        camera: the portrait's, [B].
        distances: [K] stops along the normal, metres.

    Returns:
        [B N K]: 1 inside the person, -1 beside them, 0 beyond the picture.
    """
    stops = points[:, :, None] + distances[:, None] * normals[:, :, None]  # [B N K 3]
    inside, known = mask_at(alpha, stops.flatten(1, 2), camera)
    return ((2 * inside - 1) * known).unflatten(1, (-1, len(distances)))


def carve(alpha: Tensor, means: Tensor, surface_points: Tensor, camera: Camera) -> Tensor:
    """Returns what the mask leaves of each Gaussian's opacity [B N], 0 to 1.

    Nothing can be where the portrait shows the background: a Gaussian whose centre projects
    beside the person is taken away (the visual hull). Those whose own surface point projects
    beside the person stay: there the body is misaligned, and would be cut apart. Beyond the picture
    its rim goes on: if what crosses it changed at once, no gradient could say so, and learning
    would drive Gaussians out of close-ups.

    Args:
        alpha: [B 1 H W].
        means: [B N 3] posed centres, metres.
        surface_points: [B N 3] posed points that they are bound to, metres.
        camera: the portrait's, [B].
    """
    inside, _ = mask_at(alpha, means, camera)
    return 1 - _over_person(alpha, surface_points, camera) * (1 - inside)


def narrow(
    scales: Tensor,
    alpha: Tensor,
    means: Tensor,
    surface_points: Tensor,
    camera: Camera,
    deviations: float,
) -> Tensor:
    """Keeps Gaussians near the portrait's outline from reaching across it.

    Many thin tails beside an outline add up to an opaque rim. A Gaussian whose centre is d pixels
    inside becomes at most d / `deviations` pixels wide; like `carve`, this leaves out those whose
    surface point projects beside the person, continues the picture's rim, and has gradients to the
    centres: where they move decides how wide they may be.

    Args:
        scales: [B N 3], metres.
        alpha: [B 1 H W].
        means: [B N 3] posed centres, metres.
        surface_points: [B N 3] posed points that they are bound to, metres.
        camera: the portrait's, [B].
        deviations: standard deviations that must fit between a centre and the outline.

    Returns:
        [B N 3], at most `scales`.
    """
    steps, _ = mask_at(distance_inside(alpha, _NARROW_PX), means, camera)
    _, depth = camera.project(means)
    metres = depth.clamp_min(0) / camera.K[:, 0, 0, None]  # of one pixel at the centre
    limit = steps.clamp_min(0.5) / deviations * metres
    applies = _over_person(alpha, surface_points, camera) * (steps < _NARROW_PX - 0.5)
    limit = torch.where(applies > 0, limit, torch.inf)
    return torch.minimum(scales, limit[..., None])


_NARROW_PX = 10  # farther inside, no Gaussian is wide enough to cross the outline


def distance_inside(alpha: Tensor, reach: int) -> Tensor:
    """Counts how often masks [B 1 H W] can be shrunk by a pixel, up to `reach` times.

    That is the distance to the background along rows, columns and diagonals, px; the picture's
    borders are no outline.
    """
    distance = torch.zeros_like(alpha)
    for _ in range(reach):
        distance = distance + alpha
        alpha = -F.max_pool2d(-alpha, 3, stride=1, padding=1)
    return distance


@torch.no_grad()
def _over_person(alpha: Tensor, surface_points: Tensor, camera: Camera) -> Tensor:
    """Returns [B N] 1 where body points project onto the person, 0 beside and beyond."""
    inside, known = mask_at(alpha, surface_points, camera)
    return known * (inside > 0.5)


def colours_at(portrait: Portrait, points: Tensor, camera: Camera) -> Tensor:
    """Reads the person's colours where points project, without the background beside them.

    Args:
        portrait: [B 3 H W].
        points: [B N 3], metres, in the world.
        camera: the portrait's, [B].

    Returns:
        [B N 4]: colour, and the mask there, which says how far to trust it; beyond the picture
        those of its rim.
    """
    cut_out = torch.cat([portrait.rgb * portrait.alpha, portrait.alpha], 1)
    values, _ = sample_picture(cut_out, points, camera)
    alpha = values[..., 3:]
    return torch.cat([values[..., :3] / alpha.clamp_min(1e-3), alpha], -1)
