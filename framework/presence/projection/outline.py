"""Where the portrait's outline lies as seen from points of the body, in their own axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.projection.silhouette import sample_picture
from presence.projection.surface import SurfaceMap
from presence.structures import Camera, Portrait, ProxyMesh

OUTLINE_CHANNELS = 9


def signed_distance(alpha: Tensor) -> Tensor:
    """Returns each pixel's distance to the outline of a mask [B 1 H W], px, negative outside.

    Jump flooding (Rong and Tan, 2006): every pixel asks its neighbours at halving steps for the
    nearest pixel on the other side that they know of, which is rarely another than the nearest. The
    picture's borders are no outline: without any, distances are H + W.

    Example:
        >>> signed_distance(torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4))[0, 0, 0]
        tensor([-1.5000, -0.5000,  0.5000,  1.5000])
    """
    inside = alpha > 0.5
    to_outside = _distance_to(~inside)
    to_inside = _distance_to(inside)
    return torch.where(inside, to_outside - 0.5, 0.5 - to_inside)


def _distance_to(seeds: Tensor) -> Tensor:
    """Returns the distance from every pixel to the nearest seed [B 1 H W] bool, px."""
    height, width = seeds.shape[-2:]
    far = float(height + width)
    rows = torch.arange(height, device=seeds.device, dtype=torch.float32)[:, None]
    columns = torch.arange(width, device=seeds.device, dtype=torch.float32)
    here = torch.stack(torch.broadcast_tensors(rows, columns))[None]  # [1 2 H W]
    nearest = torch.where(seeds, here, here + 2 * far)
    distance = torch.where(seeds, 0.0, far**2)
    longest = (max(height, width) - 1).bit_length()
    for step in (1, *(1 << power for power in reversed(range(longest)))):
        padded = F.pad(nearest, (step, step, step, step), value=4 * far)
        for down in (0, step, 2 * step):
            for right in (0, step, 2 * step):
                other = padded[..., down : down + height, right : right + width]
                away = (other - here).square().sum(1, keepdim=True)
                closer = away < distance
                distance = torch.where(closer, away, distance)
                nearest = torch.where(closer, other, nearest)
    return distance.sqrt()


@torch.no_grad()
def outline_vectors(
    alpha: Tensor, points: Tensor, frames: Tensor, camera: Camera, *, unit: float = 0.05
) -> Tensor:
    """Tells points where the portrait's outline is, as steps that would bring them there.

    Args:
        alpha: [B 1 H W].
        points: [B N 3] on the posed body, metres.
        frames: [B N 3 3] `world_from_tangent`, columns along u, along v and outwards.
        camera: the portrait's, [B].
        unit: metres that count as 1.

    Returns:
        [B N 9]: the step to the outline, parallel to the picture, in the point's tangent frame
        (3); the step of one pixel outwards (3); the signed distance to the outline, positive
        inside; how squarely the point faces the camera; 1 where the picture covers the point. All
        but the last two are in units, limited to `_LIMIT`, and 0 beyond the picture.
    """
    distance = signed_distance(alpha)
    slope = torch.stack([_slope(distance, -1), _slope(distance, -2)], 1)[:, :, 0]  # [B 2 H W]
    values, known = sample_picture(torch.cat([distance, slope], 1), points, camera)
    _, depth = camera.project(points)
    px = (depth.clamp_min(0) / camera.K[:, 0, 0, None])[..., None]  # metres of one pixel
    outwards = -F.normalize(values[..., 1:], dim=-1)
    in_world = outwards @ camera.cam_from_world[:, :2, :3]  # rows are the picture's axes
    in_tangent = (in_world[..., None, :] @ frames)[..., 0, :]
    away = (values[..., :1] * px / unit).clamp(-_LIMIT, _LIMIT)
    facing = F.cosine_similarity(frames[..., 2], camera.position[:, None] - points, dim=-1)
    told = torch.cat([away * in_tangent, px / unit * in_tangent, away, facing[..., None]], -1)
    return torch.cat([told, torch.ones_like(away)], -1) * known[..., None]


@torch.no_grad()
def outline_of_texels(
    surface: SurfaceMap, portrait: Portrait, posed: ProxyMesh, camera: Camera
) -> Tensor:
    """Returns `outline_vectors` [B N 9] of a surface map's points, also under autocast in float32.

    Args:
        surface: the texels.
        portrait: [B 3 H W].
        posed: the body in the portrait, [B].
        camera: the portrait's, [B].
    """
    with torch.autocast(posed.vertices.device.type, enabled=False):
        points = surface.binding.interpolate(posed.vertices)
        frames, _ = surface.tangent_frames(posed.vertices)
        return outline_vectors(portrait.alpha, points, frames, camera)


_LIMIT = 4.0  # units: farther away, how far does not matter


def _slope(values: Tensor, axis: int) -> Tensor:
    """Returns central differences of maps [B C H W] along an axis, per pixel."""
    return torch.gradient(values, dim=axis)[0]
