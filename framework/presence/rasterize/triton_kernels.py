"""The Triton kernels behind `TritonRasterizer`; imported when first used.

Shapes, for every kernel: `fixed` [B V 2] int32 in 1/4096 px, `depths` [B V] float32 camera z,
`faces` [F 3] int64, `keys` [B H W] int64 of (depth bits << 32 | face index). The arithmetic is
float32 in the order of `cpu_kernels.draw_rows`.
"""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

SIZES = ["vertices", "face_count", "height", "width"]
"""Arguments for whose values no variant is compiled, so that a new size starts at once."""


@triton.jit
def _corner(fixed, depths, faces, image, face, which, vertices, valid):
    """Loads fixed-point x and y and camera z of one corner of each face."""
    index = tl.load(faces + face.to(tl.int64) * 3 + which, mask=valid, other=0)
    row = image.to(tl.int64) * vertices + index
    x = tl.load(fixed + row * 2, mask=valid, other=0)
    y = tl.load(fixed + row * 2 + 1, mask=valid, other=0)
    z = tl.load(depths + row, mask=valid, other=1.0)
    return x, y, z


@triton.jit
def _pixel_range(a, b, c, size, BITS: tl.constexpr):
    """Returns the first and the last pixel of a face along one axis, cut to the image."""
    half: tl.constexpr = 1 << (BITS - 1)
    low = tl.minimum(tl.minimum(a, b), c)
    high = tl.maximum(tl.maximum(a, b), c)
    return tl.maximum((low + half - 1) >> BITS, 0), tl.minimum((high - half) >> BITS, size - 1)


@triton.jit
def _area(x0, y0, x1, y1, x2, y2):
    """Returns twice the signed area; negative for counter-clockwise, as y runs down."""
    first = (x1 - x0).to(tl.int64) * (y2 - y0).to(tl.int64)
    return first - (y1 - y0).to(tl.int64) * (x2 - x0).to(tl.int64)


@triton.jit
def _edge(xa, ya, xb, yb, px, py, sign):
    """Returns the edge function of a centre, and whether the centre is on the inner side."""
    dx = (xb - xa) * sign
    dy = (yb - ya) * sign
    value = dx.to(tl.int64) * (py - ya).to(tl.int64) - dy.to(tl.int64) * (px - xa).to(tl.int64)
    owned = (dy < 0) | ((dy == 0) & (dx > 0))
    return value, (value > 0) | ((value == 0) & owned)


@triton.jit
def _cover(
    x0, y0, z0, x1, y1, z1, x2, y2, z2, column, row,
    BITS: tl.constexpr, ORTHOGRAPHIC: tl.constexpr,
):  # fmt: skip
    """Returns whether faces own a pixel's centre, three weights, their sum, and camera z."""
    half: tl.constexpr = 1 << (BITS - 1)
    px = (column << BITS) + half
    py = (row << BITS) + half
    area = _area(x0, y0, x1, y1, x2, y2)
    sign = tl.where(area > 0, 1, -1)
    e0, in0 = _edge(x1, y1, x2, y2, px, py, sign)
    e1, in1 = _edge(x2, y2, x0, y0, px, py, sign)
    e2, in2 = _edge(x0, y0, x1, y1, px, py, sign)
    inside = in0 & in1 & in2 & (area != 0)
    q0 = e0.to(tl.float32)
    q1 = e1.to(tl.float32)
    q2 = e2.to(tl.float32)
    if not ORTHOGRAPHIC:
        q0 = q0 * tl.div_rn(1.0, z0)
        q1 = q1 * tl.div_rn(1.0, z1)
        q2 = q2 * tl.div_rn(1.0, z2)
    total = tl.where(inside, q0 + q1 + q2, 1.0)
    if ORTHOGRAPHIC:
        z = z0 + tl.div_rn(q1, total) * (z1 - z0) + tl.div_rn(q2, total) * (z2 - z0)
    else:
        z = tl.div_rn(tl.abs(area).to(tl.float32), total)
    return inside, q0, q1, q2, total, z


@triton.jit
def _offer(keys, offset, inside, z, face):
    """Puts (depth, face) where it is nearer than what a pixel has; equal depths go by index."""
    bits = (z + 0.0).to(tl.int32, bitcast=True)  # + 0.0 makes -0.0 and 0.0 equal
    ordered = tl.where(bits >= 0, bits, bits ^ 0x7FFFFFFF)
    key = (ordered.to(tl.int64) << 32) | face.to(tl.int64)
    tl.atomic_min(keys + offset, key, mask=inside, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def draw_small_faces(
    fixed, depths, faces, keys, queue, queued, vertices, face_count, height, width,
    CULL: tl.constexpr, UNUSABLE: tl.constexpr, FACES: tl.constexpr, TILE: tl.constexpr,
    MAX_TILES: tl.constexpr, BITS: tl.constexpr, ORTHOGRAPHIC: tl.constexpr,
):  # fmt: skip
    """Draws faces of few tiles, and queues (image * face_count + face) of the others.

    Grid: (blocks of `FACES` faces, images). `queue` [B*F] int64, `queued` [1] int32.
    """
    image = tl.program_id(1)
    face = tl.program_id(0) * FACES + tl.arange(0, FACES)
    valid = face < face_count
    x0, y0, z0 = _corner(fixed, depths, faces, image, face, 0, vertices, valid)
    x1, y1, z1 = _corner(fixed, depths, faces, image, face, 1, vertices, valid)
    x2, y2, z2 = _corner(fixed, depths, faces, image, face, 2, vertices, valid)
    valid = valid & (y0 != UNUSABLE) & (y1 != UNUSABLE) & (y2 != UNUSABLE)
    # Differences of unusable corners could overflow; such faces are made empty instead.
    y0 = tl.where(valid, y0, 0)
    y1 = tl.where(valid, y1, 0)
    y2 = tl.where(valid, y2, 0)
    x0 = tl.where(valid, x0, 0)
    x1 = tl.where(valid, x1, 0)
    x2 = tl.where(valid, x2, 0)
    area = _area(x0, y0, x1, y1, x2, y2)
    valid = valid & (area != 0)
    if CULL:
        valid = valid & (area < 0)
    left, right = _pixel_range(x0, x1, x2, width, BITS)
    top, bottom = _pixel_range(y0, y1, y2, height, BITS)
    valid = valid & (left <= right) & (top <= bottom)
    across = tl.where(valid, (right - left) // TILE + 1, 1)
    tiles = tl.where(valid, across * ((bottom - top) // TILE + 1), 0)

    large = (tiles > MAX_TILES).to(tl.int32)
    count = tl.sum(large, axis=0)
    if count > 0:
        start = tl.atomic_add(queued, count, sem="relaxed")
        slot = start + tl.cumsum(large, axis=0) - 1
        tl.store(queue + slot, image.to(tl.int64) * face_count + face, mask=large > 0)
    tiles = tl.where(large > 0, 0, tiles)

    lane = tl.arange(0, TILE * TILE)[None, :]
    for tile in range(0, tl.max(tiles, axis=0)):
        column = (left + (tile % across) * TILE)[:, None] + lane % TILE
        row = (top + (tile // across) * TILE)[:, None] + lane // TILE
        inside, q0, q1, q2, total, z = _cover(
            x0[:, None], y0[:, None], z0[:, None], x1[:, None], y1[:, None], z1[:, None],
            x2[:, None], y2[:, None], z2[:, None], column, row, BITS, ORTHOGRAPHIC,
        )  # fmt: skip
        inside = inside & (tile < tiles)[:, None] & (column < width) & (row < height)
        offset = (image.to(tl.int64) * height + row) * width + column
        _offer(keys, offset, inside, z, face[:, None])


@triton.jit(do_not_specialize=SIZES)
def draw_queued_faces(
    fixed, depths, faces, keys, queue, queued, vertices, face_count, height, width,
    TILE: tl.constexpr, BITS: tl.constexpr, ORTHOGRAPHIC: tl.constexpr,
):  # fmt: skip
    """Draws the queued faces; programs take every n-th face, and every m-th tile of it.

    Grid: (n, m), whatever the queue holds: its length is only read here, on the GPU.
    """
    lane = tl.arange(0, TILE * TILE)
    waiting = tl.load(queued)
    for slot in range(tl.program_id(0), waiting, tl.num_programs(0)):
        entry = tl.load(queue + slot)
        image = entry // face_count
        face = entry % face_count
        x0, y0, z0 = _corner(fixed, depths, faces, image, face, 0, vertices, True)
        x1, y1, z1 = _corner(fixed, depths, faces, image, face, 1, vertices, True)
        x2, y2, z2 = _corner(fixed, depths, faces, image, face, 2, vertices, True)
        left, right = _pixel_range(x0, x1, x2, width, BITS)
        top, bottom = _pixel_range(y0, y1, y2, height, BITS)
        across = (right - left) // TILE + 1
        tiles = across * ((bottom - top) // TILE + 1)
        for tile in range(tl.program_id(1), tiles, tl.num_programs(1)):
            column = left + (tile % across) * TILE + lane % TILE
            row = top + (tile // across) * TILE + lane // TILE
            inside, q0, q1, q2, total, z = _cover(
                x0, y0, z0, x1, y1, z1, x2, y2, z2, column, row, BITS, ORTHOGRAPHIC
            )
            inside = inside & (column < width) & (row < height)
            _offer(keys, (image * height + row) * width + column, inside, z, face)


@triton.jit(do_not_specialize=SIZES)
def resolve(
    fixed, depths, faces, keys, face_ids, barycentrics, depth,
    vertices, face_count, height, width,
    PIXELS: tl.constexpr, BITS: tl.constexpr, ORTHOGRAPHIC: tl.constexpr,
):  # fmt: skip
    """Writes id, barycentrics and depth of each pixel's winner; background is left as it is.

    Grid: (blocks of `PIXELS` pixels, images). `face_ids` [B H W] int64, `barycentrics`
    [B H W 3] float32, `depth` [B H W] float32.
    """
    image = tl.program_id(1)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    on_image = pixel < height * width
    offset = image.to(tl.int64) * height * width + pixel
    face = tl.load(keys + offset, mask=on_image, other=-1).to(tl.int32)  # the low half
    hit = on_image & (face >= 0)
    x0, y0, z0 = _corner(fixed, depths, faces, image, face, 0, vertices, hit)
    x1, y1, z1 = _corner(fixed, depths, faces, image, face, 1, vertices, hit)
    x2, y2, z2 = _corner(fixed, depths, faces, image, face, 2, vertices, hit)
    inside, q0, q1, q2, total, z = _cover(
        x0, y0, z0, x1, y1, z1, x2, y2, z2, pixel % width, pixel // width, BITS, ORTHOGRAPHIC
    )
    tl.store(face_ids + offset, face.to(tl.int64), mask=hit)
    tl.store(barycentrics + offset * 3, tl.div_rn(q0, total), mask=hit)
    tl.store(barycentrics + offset * 3 + 1, tl.div_rn(q1, total), mask=hit)
    tl.store(barycentrics + offset * 3 + 2, tl.div_rn(q2, total), mask=hit)
    tl.store(depth + offset, z, mask=hit)


INTERPRETED = isinstance(resolve, InterpretedFunction)
"""Whether TRITON_INTERPRET=1 was set at import, so that the kernels run on the CPU."""
