"""A Triton kernel that composites tiles' lists of Gaussians, many Gaussians of a list at a time."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

# The project's conventions, which are gsplat's (`presence.rendering.base`).
ALPHA_MIN = tl.constexpr(1.0 / 255.0)
ALPHA_MAX = tl.constexpr(0.999)
T_MIN = tl.constexpr(1e-4)


@triton.jit
def _splats(ids, centers, conics, opacities, colors, place, end):
    """Reads the Gaussians at some places of a list; their opacity is 0 past its end."""
    held = place < end
    splat = tl.load(ids + place, mask=held, other=0)
    x, y = tl.load(centers + splat * 2), tl.load(centers + splat * 2 + 1)
    a, b = tl.load(conics + splat * 3), tl.load(conics + splat * 3 + 1)
    c = tl.load(conics + splat * 3 + 2)
    opacity = tl.load(opacities + splat, mask=held, other=0.0)
    red, green = tl.load(colors + splat * 3), tl.load(colors + splat * 3 + 1)
    return x, y, a, b, c, opacity, red, green, tl.load(colors + splat * 3 + 2)


@triton.jit
def composite_tiles(
    ids, offsets, centers, conics, opacities, colors, background, rgb, alpha,
    height, width, across, down,
    TILE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Draws one tile: CHUNK Gaussians at once, their transmittances by a running product.

    Grid: tiles of all images. Shapes: `ids` [...] int32 and `offsets` [I down+1 across] int32, see
    `binning.Bins`; `centers` [I*N 2] px, `conics` [I*N 3] px^-2, `opacities` [I*N], `colors`
    [I*N 3], `background` [I 3], out `rgb` [I 3 H W], out `alpha` [I H W].
    """
    image = tl.program_id(0) // (across * down)
    tile = tl.program_id(0) % (across * down)
    row, column = tile // across, tile % across
    first = offsets + image * (down + 1) * across + tile
    place, end = tl.load(first), tl.load(first + 1)

    pixel = tl.arange(0, TILE * TILE)
    v, u = row * TILE + pixel // TILE, column * TILE + pixel % TILE
    inside = (v < height) & (u < width)
    px, py = u.to(tl.float32)[:, None] + 0.5, v.to(tl.float32)[:, None] + 0.5
    red = tl.zeros([TILE * TILE], tl.float32)
    green = tl.zeros([TILE * TILE], tl.float32)
    blue = tl.zeros([TILE * TILE], tl.float32)
    # What has passed every Gaussian so far, and what had when the pixel was finished.
    passed = tl.where(inside, 1.0, 0.0)
    left = tl.zeros([TILE * TILE], tl.float32) + 1.0

    chunk = tl.arange(0, CHUNK)
    x, y, a, b, c, opacity, r, g, bl = _splats(
        ids, centers, conics, opacities, colors, place + chunk, end
    )
    while (place < end) & (tl.max(passed, axis=0) > T_MIN):
        place += CHUNK
        # The next chunk is on its way while this one is drawn.
        x1, y1, a1, b1, c1, opacity1, r1, g1, bl1 = _splats(
            ids, centers, conics, opacities, colors, place + chunk, end
        )
        dx, dy = x[None, :] - px, y[None, :] - py
        sigma = 0.5 * (a[None, :] * dx * dx + c[None, :] * dy * dy) + b[None, :] * dx * dy
        tint = tl.minimum(opacity[None, :] * tl.exp(-sigma), ALPHA_MAX)
        tint = tl.where((sigma >= 0.0) & (tint >= ALPHA_MIN), tint, 0.0)
        through = tl.cumprod(1.0 - tint, axis=1) * passed[:, None]
        shown = through > T_MIN
        weight = tl.where(shown, tint * through / (1.0 - tint), 0.0)
        red += tl.sum(weight * r[None, :], axis=1)
        green += tl.sum(weight * g[None, :], axis=1)
        blue += tl.sum(weight * bl[None, :], axis=1)
        left = tl.minimum(left, tl.min(tl.where(shown, through, 1.0), axis=1))
        passed = tl.min(through, axis=1)
        x, y, a, b, c, opacity, r, g, bl = x1, y1, a1, b1, c1, opacity1, r1, g1, bl1

    plane = height * width
    out = rgb + image * 3 * plane + v * width + u
    behind = background + image * 3
    tl.store(out, red + left * tl.load(behind), mask=inside)
    tl.store(out + plane, green + left * tl.load(behind + 1), mask=inside)
    tl.store(out + 2 * plane, blue + left * tl.load(behind + 2), mask=inside)
    tl.store(alpha + image * plane + v * width + u, 1.0 - left, mask=inside)
