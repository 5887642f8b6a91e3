"""Compositing that long lists do not hold up.

gsplat's kernel walks each tile's list one Gaussian after another. A hand seen from afar puts
thousands of Gaussians into one tile, and pixels beside it are never finished, so a whole frame
waits for a few tiles. Here a chunk of a list is drawn at once, with transmittances as a running
product.
"""

from __future__ import annotations

from torch import Tensor

from presence.realtime.binning import Bins
from presence.realtime.posing import on_device

CHUNK = 32


def composite_bins(
    centers: Tensor,
    conics: Tensor,
    opacities: Tensor,
    colors: Tensor,
    bins: Bins,
    background: Tensor,
    *,
    height: int,
    width: int,
    tile: int,
    chunk: int = CHUNK,
    warps: int = 8,
) -> tuple[Tensor, Tensor]:
    """Composites projected Gaussians front to back, by the rules of `presence.rendering.base`.

    Args:
        centers: [I N 2] px.
        conics: [I N 3] px^-2.
        opacities: [I N].
        colors: [I N 3].
        bins: the tiles' lists, from `bin_gaussians`.
        background: [I 3].
        height: rows of the pictures.
        width: columns of the pictures.
        tile: side of a tile, px, a power of two.
        chunk: Gaussians of a list that are drawn at once, a power of two.
        warps: warps of 32 threads for a tile.

    Returns:
        rgb [I 3 H W] over the background, alpha [I 1 H W].
    """
    from presence.realtime.compositing_kernels import composite_tiles

    images = len(centers)
    across, down = -(-width // tile), -(-height // tile)
    rgb = centers.new_empty(images, 3, height, width)
    alpha = centers.new_empty(images, 1, height, width)
    given = (value.contiguous() for value in (centers, conics, opacities, colors, background))
    with on_device(centers):
        composite_tiles[(images * across * down,)](
            bins.ids,
            bins.offsets,
            *given,
            rgb,
            alpha,
            height,
            width,
            across,
            down,
            TILE=tile,
            CHUNK=chunk,
            num_warps=warps,
        )
    return rgb, alpha
