"""Rims of body parts before others, where a body that is a few pixels off takes wrong colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.projection.silhouette import sample_picture
from presence.projection.surface import SurfaceMap
from presence.structures import Camera, Fragments, ProxyMesh, UVFeatures

_JUMP = 0.04  # m between neighbouring pixels: another part, not a slope,
_STEEP = 10.0  # unless pixels are so large that slopes are as steep: m of depth a m of width
_GRAZING = 0.6  # cosine below which few pixels are much of a surface


def beside_jumps(fragments: Fragments, camera: Camera, reach: int) -> Tensor:
    """Returns [B h w] 1 within `reach` pixels of where the body's depth jumps, else 0.

    Only jumps from the body to itself count, not its outline.

    Args:
        fragments: [B h w] of the body.
        camera: [B], theirs.
        reach: pixels along rows, columns and diagonals.
    """
    depth, body = fragments.depth, fragments.face_ids >= 0
    jumps = torch.zeros_like(depth)
    steep = _STEEP / camera.K[:, 0, 0, None, None]  # m between neighbours, a m of distance
    for dim in (1, 2):
        count = depth.shape[dim] - 1
        here, there = (body.narrow(dim, start, count) for start in (0, 1))
        least = (steep * depth.narrow(dim, 0, count)).clamp_min(_JUMP)
        jump = (depth.diff(dim=dim).abs() > least) & here & there
        for start in (0, 1):  # both sides
            part = jumps.narrow(dim, start, count)
            part.copy_(torch.maximum(part, jump.to(part.dtype)))
    return F.max_pool2d(jumps[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]


def forget_rims(
    features: UVFeatures,
    surface: SurfaceMap,
    fragments: Fragments,
    mesh: ProxyMesh,
    camera: Camera,
    reach: int,
) -> UVFeatures:
    """Takes the colours of texels that are seen at a grazing angle beside another body part.

    A tracked body is some pixels off: where an arm hangs beside the waist, its skin lands on the
    shirt's rim, which from the side is a hand wide. Better such texels count as unseen.

    Args:
        features: [B].
        surface: the texels' points on the body.
        fragments: [B h w] of the body.
        mesh: [B], posed.
        camera: [B], that of the fragments.
        reach: pixels of `fragments` on both sides of an edge.
    """
    points = surface.binding.interpolate(mesh.vertices)
    beside, _ = sample_picture(beside_jumps(fragments, camera, reach)[:, None], points, camera)
    cosine = surface.from_map(features.texels_seen)
    keep = surface.to_map(((beside < 0.5) | (cosine >= _GRAZING)).to(cosine.dtype))
    return features.replace(texels=features.texels * keep, texels_seen=features.texels_seen * keep)
