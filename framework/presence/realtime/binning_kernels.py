"""Triton kernels that list which Gaussian touches which tile, into a buffer of fixed size."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _tiles(centers, radii, splat, valid, across, down, TILE: tl.constexpr):
    """Returns the tiles [left, right) x [top, bottom) under each Gaussian's box, as gsplat does."""
    rx = tl.load(radii + splat * 2, mask=valid, other=0).to(tl.float32)
    ry = tl.load(radii + splat * 2 + 1, mask=valid, other=0).to(tl.float32)
    drawn = valid & (rx > 0) & (ry > 0)
    x = tl.load(centers + splat * 2, mask=drawn, other=0.0)
    y = tl.load(centers + splat * 2 + 1, mask=drawn, other=0.0)
    left = tl.minimum(tl.maximum(tl.floor((x - rx) / TILE), 0.0).to(tl.int32), across)
    right = tl.minimum(tl.maximum(tl.ceil((x + rx) / TILE), 0.0).to(tl.int32), across)
    top = tl.minimum(tl.maximum(tl.floor((y - ry) / TILE), 0.0).to(tl.int32), down)
    bottom = tl.minimum(tl.maximum(tl.ceil((y + ry) / TILE), 0.0).to(tl.int32), down)
    return drawn, left, right, top, bottom


@triton.jit(do_not_specialize=["splats"])
def count_tiles(
    centers, radii, counts, splats, across, down, TILE: tl.constexpr, BLOCK: tl.constexpr
):
    """Writes how many tiles each Gaussian touches.

    Grid: blocks of Gaussians. Shapes: `centers` [I*N 2] px, `radii` [I*N 2] int32 px (0: not
    drawn), out `counts` [I*N] int32.
    """
    splat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = splat < splats
    drawn, left, right, top, bottom = _tiles(centers, radii, splat, valid, across, down, TILE)
    tl.store(counts + splat, tl.where(drawn, (right - left) * (bottom - top), 0), mask=valid)


@triton.jit(do_not_specialize=["splats", "points", "capacity"])
def list_tiles(
    centers, radii, depths, ends, near, inverse_range, keys, ids,
    splats, points, across, down, capacity,
    DEPTH_BITS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes a key (image, tile, quantised depth) and the Gaussian for every touched tile.

    Grid: blocks of Gaussians. Shapes: `depths` [I*N] m, `ends` [I*N] int64 running sum of the
    counts, `near` and `inverse_range` [I] 1/m, out `keys` [capacity] int32 that start at 2^31 - 1,
    `ids` [capacity] int32. What does not fit is left out.
    """
    splat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = splat < splats
    drawn, left, right, top, bottom = _tiles(centers, radii, splat, valid, across, down, TILE)
    width = tl.where(drawn, right - left, 1)
    width = tl.maximum(width, 1)
    count = tl.where(drawn, (right - left) * (bottom - top), 0)
    image = splat // points
    z = tl.load(depths + splat, mask=drawn, other=0.0)
    low = tl.load(near + image, mask=valid, other=0.0)
    scale = tl.load(inverse_range + image, mask=valid, other=0.0)
    steps: tl.constexpr = (1 << DEPTH_BITS) - 1
    share = tl.minimum(tl.maximum((z - low) * scale, 0.0), 1.0)
    depth = tl.minimum((share * steps).to(tl.int64), steps)
    first = tl.load(ends + splat, mask=valid, other=0) - count
    for k in range(0, tl.max(count, axis=0)):
        tile = (top + k // width) * across + left + k % width
        key = ((image.to(tl.int64) * (across * down) + tile) << DEPTH_BITS) | depth
        slot = first + k
        keep = (k < count) & (slot < capacity)
        # Shifted by 2^31, so that 32 unsigned bits sort as a signed number.
        tl.store(keys + slot, (key - 2147483648).to(tl.int32), mask=keep)
        tl.store(ids + slot, splat.to(tl.int32), mask=keep)
