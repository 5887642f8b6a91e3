"""Triton kernels of the Dual-UV projection; they repeat `DualUVProjector`'s torch arithmetic."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

SIZES = ["vertices", "points", "width", "height", "raster_width", "raster_height", "rows"]


@triton.jit
def _corner(vertices_cam, row, mask):
    """Loads camera-space positions of vertices."""
    x = tl.load(vertices_cam + row * 3, mask=mask, other=0.0)
    y = tl.load(vertices_cam + row * 3 + 1, mask=mask, other=0.0)
    z = tl.load(vertices_cam + row * 3 + 2, mask=mask, other=1.0)
    return x, y, z


@triton.jit
def _tap(maps, x, y, width, height, weight, mask):
    """Returns a weighted pixel of a map, 0 outside the picture."""
    inside = mask & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return weight * tl.load(maps + y * width + x, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _bilinear(maps, px, py, width, height, mask):
    """Samples one channel [H W] at pixel positions; pixel centres lie at +0.5."""
    u = px - 0.5
    v = py - 0.5
    x = tl.floor(u)
    y = tl.floor(v)
    fx = u - x
    fy = v - y
    x = x.to(tl.int32)
    y = y.to(tl.int32)
    value = _tap(maps, x, y, width, height, (1 - fx) * (1 - fy), mask)
    value += _tap(maps, x + 1, y, width, height, fx * (1 - fy), mask)
    value += _tap(maps, x, y + 1, width, height, (1 - fx) * fy, mask)
    value += _tap(maps, x + 1, y + 1, width, height, fx * fy, mask)
    return value


@triton.jit(do_not_specialize=SIZES)
def look_at_points(
    vertices_cam, vertex_ids, barycentrics, K, depth, body_faces, rgb, alpha, texel_ids,
    positions, seen, texels,
    vertices, points, width, height, raster_width, raster_height, map_size, tolerance,
    SHELL: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Projects surface points, tests them against the z-buffer, and copies colours of seen ones.

    Grid: (blocks of points, pictures). Shapes: `vertices_cam` [B V 3] m, `vertex_ids` [N 3],
    `barycentrics` [N 3], `K` [B 9], `depth` [B h w] m of the rasterized surface, `body_faces`
    [B h w] (read for the shell: only what lies beside the body counts), `rgb` [B 3 H W], `alpha`
    [B H W], `texel_ids` [N]; out `positions` [B N 2] px, `seen` [B N] 0 or the cosine, and, for
    the body, `texels` [B 4 S*S]: colour and `seen`.
    """
    image = tl.program_id(1).to(tl.int64)
    point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = point < points
    i0 = tl.load(vertex_ids + point * 3, mask=valid, other=0)
    i1 = tl.load(vertex_ids + point * 3 + 1, mask=valid, other=0)
    i2 = tl.load(vertex_ids + point * 3 + 2, mask=valid, other=0)
    b0 = tl.load(barycentrics + point * 3, mask=valid, other=0.0)
    b1 = tl.load(barycentrics + point * 3 + 1, mask=valid, other=0.0)
    b2 = tl.load(barycentrics + point * 3 + 2, mask=valid, other=0.0)
    first = image * vertices
    x0, y0, z0 = _corner(vertices_cam, first + i0, valid)
    x1, y1, z1 = _corner(vertices_cam, first + i1, valid)
    x2, y2, z2 = _corner(vertices_cam, first + i2, valid)
    x = b0 * x0 + b1 * x1 + b2 * x2
    y = b0 * y0 + b1 * y1 + b2 * y2
    z = b0 * z0 + b1 * z1 + b2 * z2
    ax, ay, az = x1 - x0, y1 - y0, z1 - z0
    bx, by, bz = x2 - x0, y2 - y0, z2 - z0
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    lengths = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-8)
    lengths = lengths * tl.maximum(tl.sqrt(x * x + y * y + z * z), 1e-8)
    cosine = -(nx * x + ny * y + nz * z) / lengths

    k = K + image * 9
    safe = tl.maximum(z, 1e-6)
    u, v = x / safe, y / safe
    px = u * tl.load(k) + v * tl.load(k + 1) + tl.load(k + 2)
    py = u * tl.load(k + 3) + v * tl.load(k + 4) + tl.load(k + 5)
    inside = valid & (px >= 0) & (py >= 0) & (px < width) & (py < height) & (z > 0)
    column = (tl.where(inside, px, 0.0) * (raster_width / width)).to(tl.int32)
    row = (tl.where(inside, py, 0.0) * (raster_height / height)).to(tl.int32)
    column = tl.minimum(column, raster_width - 1)
    row = tl.minimum(row, raster_height - 1)
    cell = image * raster_width * raster_height + row * raster_width + column
    nearest = tl.load(depth + cell, mask=inside, other=0.0)
    # A sloped surface changes depth within a pixel: grazing points need more room.
    slack = tolerance * (1 + 1 / tl.minimum(tl.maximum(cosine, 0.1), 1.0))
    visible = inside & (cosine > 0) & (z <= nearest + slack)
    if SHELL:
        visible = visible & (tl.load(body_faces + cell, mask=inside, other=0) < 0)
    pixels = height.to(tl.int64) * width
    if MASKED:
        visible = visible & (
            _bilinear(alpha + image * pixels, px, py, width, height, visible) > 0.5
        )
    value = tl.where(visible, cosine, 0.0)
    out = image * points + point
    tl.store(positions + out * 2, px, mask=valid)
    tl.store(positions + out * 2 + 1, py, mask=valid)
    tl.store(seen + out, value, mask=valid)
    if not SHELL:
        texel = tl.load(texel_ids + point, mask=valid, other=0)
        area = map_size.to(tl.int64) * map_size
        for channel in tl.static_range(3):
            colour = _bilinear(rgb + (image * 3 + channel) * pixels, px, py, width, height, visible)
            tl.store(texels + (image * 4 + channel) * area + texel, colour, mask=valid)
        tl.store(texels + (image * 4 + 3) * area + texel, value, mask=valid)


@triton.jit(do_not_specialize=SIZES)
def average_cells(
    features, positions, seen, starts, members, mean, share,
    stride_image, stride_channel, stride_row, stride_column,
    channels, rows, columns, points, width, height, cells,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Averages features over the seen points of each UV cell (Eq. 3, nearest-cell kernel).

    Grid: (cells, blocks of channels, pictures). Shapes: `features` [B C h w] by strides,
    `positions` [B N 2] px, `seen` [B N], `starts` [cells+1] int32 into `members`, the rows of
    `positions` that belong to a cell; out `mean` [B cells C] and `share` [B cells], float32.
    """
    cell = tl.program_id(0)
    image = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    valid = channel < channels
    base = features + image * stride_image + channel.to(tl.int64) * stride_channel
    begin = tl.load(starts + cell)
    end = tl.load(starts + cell + 1)
    total = tl.zeros([BLOCK], tl.float32)
    count = 0.0
    for slot in range(begin, end):
        point = image * points + tl.load(members + slot)
        if tl.load(seen + point) > 0:
            count += 1.0
            u = tl.load(positions + point * 2) * (columns / width) - 0.5
            v = tl.load(positions + point * 2 + 1) * (rows / height) - 0.5
            x = tl.floor(u)
            y = tl.floor(v)
            fx = u - x
            fy = v - y
            x0 = x.to(tl.int32)
            y0 = y.to(tl.int32)
            left = ((x0 >= 0) & (x0 < columns)).to(tl.float32) * (1 - fx)
            right = ((x0 >= -1) & (x0 < columns - 1)).to(tl.float32) * fx
            upper = ((y0 >= 0) & (y0 < rows)).to(tl.float32) * (1 - fy)
            lower = ((y0 >= -1) & (y0 < rows - 1)).to(tl.float32) * fy
            # Outside the map the weight is 0, and the nearest cell is read instead.
            xa = tl.minimum(tl.maximum(x0, 0), columns - 1) * stride_column
            xb = tl.minimum(tl.maximum(x0 + 1, 0), columns - 1) * stride_column
            ya = tl.minimum(tl.maximum(y0, 0), rows - 1) * stride_row
            yb = tl.minimum(tl.maximum(y0 + 1, 0), rows - 1) * stride_row
            total += upper * left * tl.load(base + ya + xa, mask=valid, other=0.0).to(tl.float32)
            total += upper * right * tl.load(base + ya + xb, mask=valid, other=0.0).to(tl.float32)
            total += lower * left * tl.load(base + yb + xa, mask=valid, other=0.0).to(tl.float32)
            total += lower * right * tl.load(base + yb + xb, mask=valid, other=0.0).to(tl.float32)
    out = image * cells + cell
    tl.store(mean + out * channels + channel, total / (count + 1e-6), mask=valid)
    if tl.program_id(1) == 0:
        tl.store(share + out, count / tl.maximum((end - begin).to(tl.float32), 1.0))
