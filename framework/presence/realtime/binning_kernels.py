"""Triton kernels that list which Gaussian touches which tile, into a buffer of fixed size."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

# Rounding must not drop a pair that gsplat's kernel would draw.
SLACK = tl.constexpr(0.01)


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
    width = tl.maximum(tl.where(drawn, right - left, 1), 1)
    count = tl.where(drawn, (right - left) * (bottom - top), 0)
    return drawn, x, y, left, top, width, count


@triton.jit
def _ellipses(conics, opacities, splat, drawn):
    """Returns a, b, c of sigma = (a x^2 + c y^2) / 2 + b x y, and where alpha falls to 1/255."""
    a = tl.load(conics + splat * 3, mask=drawn, other=1.0)
    b = tl.load(conics + splat * 3 + 1, mask=drawn, other=0.0)
    c = tl.load(conics + splat * 3 + 2, mask=drawn, other=1.0)
    opacity = tl.load(opacities + splat, mask=drawn, other=0.0)
    return a, b, c, tl.log(tl.maximum(255.0 * opacity, 1e-30)) + SLACK


@triton.jit
def _touches(a, b, c, limit, x, y, column, row, TILE: tl.constexpr):
    """Whether any pixel centre's neighbourhood in a tile reaches sigma <= limit.

    sigma is convex with its minimum 0 at the centre, so over the rectangle of a tile's pixel
    centres it is smallest at the centre, or on the one or two sides that face it.
    """
    x0, y0 = column * TILE + 0.5 - x, row * TILE + 0.5 - y
    x1, y1 = x0 + (TILE - 1), y0 + (TILE - 1)
    near_x = tl.minimum(tl.maximum(x0, 0.0), x1)
    near_y = tl.minimum(tl.maximum(y0, 0.0), y1)
    best_y = tl.minimum(tl.maximum(-b * near_x / c, y0), y1)
    best_x = tl.minimum(tl.maximum(-b * near_y / a, x0), x1)
    one = 0.5 * (a * near_x * near_x + c * best_y * best_y) + b * near_x * best_y
    other = 0.5 * (a * best_x * best_x + c * near_y * near_y) + b * best_x * near_y
    return tl.minimum(one, other) <= limit


@triton.jit(do_not_specialize=["splats"])
def count_tiles(
    centers, radii, conics, opacities, counts, splats, across, down,
    TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes how many tiles each Gaussian touches.

    Grid: blocks of Gaussians. Shapes: `centers` [I*N 2] px, `radii` [I*N 2] int32 px (0: not
    drawn), `conics` [I*N 3], `opacities` [I*N], out `counts` [I*N] int32.
    """
    splat = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = splat < splats
    drawn, x, y, left, top, width, count = _tiles(centers, radii, splat, valid, across, down, TILE)
    a, b, c, limit = _ellipses(conics, opacities, splat, drawn)
    touched = tl.zeros([BLOCK], tl.int32)
    for k in range(0, tl.max(count, axis=0)):
        column, row = left + k % width, top + k // width
        inside = (k < count) & _touches(a, b, c, limit, x, y, column, row, TILE)
        touched += inside.to(tl.int32)
    tl.store(counts + splat, touched, mask=valid)


@triton.jit(do_not_specialize=["splats", "points", "capacity"])
def list_tiles(
    centers, radii, conics, opacities, depths, ends, near, far, keys, ids,
    splats, points, across, down, capacity,
    DEPTH_BITS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes a key (image, tile, quantised depth) and the Gaussian for every touched tile.

    Grid: blocks of Gaussians or of places, whichever are more. Shapes: `depths` [I*N] m, `ends`
    [I*N] int64 running sum of the counts, `near` and `far` [I] m, out `keys` [capacity] int32,
    `ids` [capacity] int32. What does not fit is left out; places left over hold the largest key.
    An image has a row of tiles more than `down`, which nothing touches.
    """
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(ends + splats - 1)
    unused = (place >= total) & (place < capacity)
    tl.store(keys + place, 2147483647, mask=unused)
    tl.store(ids + place, 0, mask=unused)
    splat = place
    valid = splat < splats
    drawn, x, y, left, top, width, count = _tiles(centers, radii, splat, valid, across, down, TILE)
    a, b, c, limit = _ellipses(conics, opacities, splat, drawn)
    image = splat // points
    z = tl.load(depths + splat, mask=drawn, other=0.0)
    low = tl.load(near + image, mask=valid, other=0.0)
    high = tl.load(far + image, mask=valid, other=1.0)
    steps: tl.constexpr = (1 << DEPTH_BITS) - 1
    share = tl.minimum(tl.maximum((z - low) / (high - low), 0.0), 1.0)
    depth = tl.minimum((share * steps).to(tl.int64), steps)
    slot = tl.load(ends + splat - 1, mask=valid & (splat > 0), other=0)
    first_tile = image.to(tl.int64) * (across * (down + 1))
    for k in range(0, tl.max(count, axis=0)):
        column, row = left + k % width, top + k // width
        inside = (k < count) & _touches(a, b, c, limit, x, y, column, row, TILE)
        key = ((first_tile + row * across + column) << DEPTH_BITS) | depth
        keep = inside & (slot < capacity)
        # Shifted by 2^31, so that 32 unsigned bits sort as a signed number.
        tl.store(keys + slot, (key - 2147483648).to(tl.int32), mask=keep)
        tl.store(ids + slot, splat.to(tl.int32), mask=keep)
        slot += inside.to(tl.int64)


@triton.jit(do_not_specialize=["capacity", "tiles"])
def finish_lists(
    keys, order, ids, sorted_ids, offsets, capacity, tiles,
    DEPTH_BITS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Brings Gaussians into the order of their sorted keys and finds where each tile starts.

    Grid: blocks of places or of tiles, whichever are more. Shapes: `keys` [capacity] int32 sorted,
    `order` [capacity] int64 where each was, `ids` [capacity] int32, out `sorted_ids` [capacity]
    int32, out `offsets` [tiles] int32. STEPS: halvings of `capacity` until nothing is left.
    """
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    held = place < capacity
    source = tl.load(order + place, mask=held, other=0)
    tl.store(sorted_ids + place, tl.load(ids + source, mask=held, other=0), mask=held)
    if tl.program_id(0) * BLOCK < tiles:
        valid = place < tiles
        bound = ((place.to(tl.int64) << DEPTH_BITS) - 2147483648).to(tl.int32)
        low = tl.zeros([BLOCK], tl.int32)
        high = tl.zeros([BLOCK], tl.int32) + capacity
        for _ in range(0, STEPS):
            middle = (low + high) // 2
            open_ = valid & (low < high)
            before = tl.load(keys + middle, mask=open_, other=0) < bound
            low = tl.where(open_ & before, middle + 1, low)
            high = tl.where(open_ & ~before, middle, high)
        tl.store(offsets + place, low, mask=valid)


@triton.jit
def depth_range(rows, views, near, far, vertices, nearest, margin, BLOCK: tl.constexpr):
    """Writes the nearest and farthest camera z of posed vertices, widened by a margin.

    Grid: images. Shapes: `rows` [I V 8] (x, y, z first), `views` [I 4 4] cam_from_world, out
    `near` and `far` [I] m: near is at least `nearest`, far at least a margin beyond it.
    """
    image = tl.program_id(0)
    third = views + image * 16 + 8
    fx, fy, fz, shift = tl.load(third), tl.load(third + 1), tl.load(third + 2), tl.load(third + 3)
    low = tl.full([BLOCK], float("inf"), tl.float32)
    high = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, vertices, BLOCK):
        vertex = start + tl.arange(0, BLOCK)
        valid = vertex < vertices
        row = rows + (image * vertices + vertex) * 8
        x = tl.load(row, mask=valid, other=0.0)
        y = tl.load(row + 1, mask=valid, other=0.0)
        z = tl.load(row + 2, mask=valid, other=0.0)
        depth = fx * x + fy * y + fz * z + shift
        low = tl.minimum(low, tl.where(valid, depth, float("inf")))
        high = tl.maximum(high, tl.where(valid, depth, float("-inf")))
    first = tl.maximum(tl.min(low, axis=0) - margin, nearest)
    tl.store(near + image, first)
    tl.store(far + image, tl.maximum(tl.max(high, axis=0) + margin, first + margin))
