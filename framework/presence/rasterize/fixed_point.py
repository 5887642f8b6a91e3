"""The fixed-point screen grid on which both of our rasterizers decide coverage exactly.

Vertices are rounded to 1/4096 px. On integers an edge function has no rounding error, so a
pixel centre on an edge that two faces share belongs to exactly one of them, every backend
gives the same answer, and each barycentric is at least zero. The price is that a vertex moves
by at most 1/8192 px.
"""

from __future__ import annotations

import torch
from torch import Tensor

SUBPIXEL_BITS = 12
"""Binary places of a pixel that are kept. (numba caches by a kernel's own file: save that too.)"""

MAX_COORDINATE = 1 << 17
"""Px; beyond it a vertex is unusable. Differences then fit int32 and products int64."""

UNUSABLE = -(1 << 31)
"""Both fixed-point coordinates of a vertex whose faces must be dropped."""


def to_fixed_point(screen: Tensor, *, near: float, orthographic: bool) -> Tensor:
    """Rounds screen coordinates to the grid and marks the vertices that cannot be drawn.

    Args:
        screen: [... V 3] of x px, y px, camera z.
        near: vertices with z at or below it are unusable; not applied when orthographic.
        orthographic: whether z plays no part in the projection.

    Returns:
        [... V 2] int32, in 1/4096 px; `UNUSABLE` where a coordinate is not finite, too far off
        the screen, or too near.

    Example:
        >>> to_fixed_point(torch.tensor([[0.5, 2.0, 1.0]]), near=0.0, orthographic=False).tolist()
        [[2048, 8192]]
    """
    xy, z = screen[..., :2], screen[..., 2:]
    usable = (xy.abs() <= MAX_COORDINATE).all(-1, keepdim=True) & z.isfinite()
    if not orthographic:
        usable = usable & (z > near)
    fixed = (xy * (1 << SUBPIXEL_BITS)).round()
    return torch.where(usable, fixed, float(UNUSABLE)).to(torch.int32)
