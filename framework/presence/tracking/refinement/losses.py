"""The terms of Eq. 19-21 as costs of T frames [T], in squared standard deviations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.tracking.refinement.posing import FLIP


def project(points: Tensor, focal: float, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Returns pixels [T N 2] and depths [T N] (m) of points [T N 3] in the fit's axes."""
    cam = points * points.new_tensor(FLIP)
    depth = cam[..., 2].clamp_min(1e-3)
    return focal * cam[..., :2] / depth[..., None] + centre, depth


def geman_mcclure(squares: Tensor, robust: float) -> Tensor:
    """Returns s / (1 + s / robust^2): squares near zero, at most robust^2 (Geman, McClure 1987).

    Example:
        >>> geman_mcclure(torch.tensor([0.0, 1e9]), 2.0).round().tolist()
        [0.0, 4.0]
    """
    return squares / (1 + squares / robust**2)


def pseudo_huber(squares: Tensor, robust: float) -> Tensor:
    """Returns s near zero and 2 robust sqrt(s) far away (Charbonnier et al. 1994).

    Example:
        >>> pseudo_huber(torch.tensor([0.0, 1e6]), 2.0).round().tolist()
        [0.0, 3992.0]
    """
    return 2 * squares / ((1 + squares / robust**2).sqrt() + 1)


def keypoint_cost(
    px: Tensor, target: Tensor, weights: Tensor, sigma: Tensor, robust: float
) -> Tensor:
    """Eq. 19, first term: robust distances of landmarks.

    Args:
        px: [T K 2] projected.
        target: [T K 2] detected, px.
        weights: [T K].
        sigma: [T K] px.
        robust: standard deviations from which a landmark counts as an outlier.
    """
    squares = ((px - target) / sigma[..., None]).square().sum(-1)
    return (weights * geman_mcclure(squares, robust)).sum(-1)


def silhouette_cost(px: Tensor, signed: Tensor, size: tuple[int, int], sigma: Tensor) -> Tensor:
    """Eq. 19, mask term: body points that lie outside the mask, by their distance to it.

    Args:
        px: [T N 2] projected body points.
        signed: [T h w] px, positive outside.
        size: picture width and height, px; points outside the picture cost nothing.
        sigma: [T] px.
    """
    scale = px.new_tensor(size)
    grid = (2 * px / scale - 1)[:, None]  # [T 1 N 2]
    distance = F.grid_sample(signed[:, None], grid, padding_mode="border", align_corners=False)
    inside = ((px >= 0) & (px <= scale)).all(-1)
    outside = distance[:, 0, 0].clamp_min(0) * inside / sigma[:, None]
    return 0.5 * geman_mcclure(outside.square(), 10.0).sum(-1)


def coverage_cost(px: Tensor, contour: Tensor, known: Tensor, sigma: Tensor) -> Tensor:
    """Pulls the body out to the mask: each contour point wants a body point near it.

    Args:
        px: [T N 2] projected body points.
        contour: [T M 2] px.
        known: [T M] 1 where there is such a point.
        sigma: [T] px.
    """
    gaps = torch.cdist(contour, px).amin(-1) / sigma[:, None]
    return 0.3 * (known * geman_mcclure(gaps.square(), 3.0)).sum(-1)


def direction_cost(bones: Tensor, target: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Differences of bone directions [T M 3] from unit vectors [T M 3]; `sigma` in rad."""
    squares = ((F.normalize(bones, dim=-1) - target) / sigma).square().sum(-1)
    return (weights * geman_mcclure(squares, 2.0)).sum(-1)


def upright_cost(joints: Tensor, sigma: float) -> Tensor:
    """Eq. 19, upright prior: the pelvis-to-neck direction should be vertical.

    Args:
        joints: [T 55 3].
        sigma: rad.
    """
    trunk = F.normalize(joints[:, 12] - joints[:, 0], dim=-1)
    return (trunk - trunk.new_tensor([0.0, 1.0, 0.0])).square().sum(-1) / sigma**2


def parallel_cost(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """Side views: left-right pairs lie one behind the other, as seen by the camera.

    Args:
        first: [T P 3] the left one of each pair.
        second: [T P 3] the right one.
        sigma: rad from the view direction, either way round.
    """
    across = F.normalize(first - second, dim=-1)
    return across[..., :2].square().sum((-1, -2)) / sigma**2


def smoothness_cost(
    px: Tensor, depth: Tensor, focal: float, sigma: Tensor, robust: float = 4.0
) -> Tensor:
    """Eq. 19, temporal term: second-order differences of projected points, here with depth.

    Linear from some size on, because a waving hand is faster than noise is.

    Args:
        px: [T N 2].
        depth: [T N] m; log depth times focal length is in pixels like the other two.
        focal: px.
        sigma: [T] px a frame squared.
        robust: standard deviations from which a point's motion is taken for real.

    Returns:
        [T], zero for the first and last frame; mean over points.
    """
    track = torch.cat([px, focal * depth.log()[..., None]], -1)
    bend = track[2:] - 2 * track[1:-1] + track[:-2]
    squares = (bend / sigma[1:-1, None, None]).square().sum(-1)
    return F.pad(pseudo_huber(squares, robust).mean(-1), (1, 1))
