"""Numba kernels that blend projected Gaussians into pixels, front to back, and its gradient.

Kerbl et al., "3D Gaussian Splatting" (2023), Eq. 3, with gsplat's rules: alpha is at most
0.999, contributions under 1/255 are skipped, and a pixel is finished before the Gaussian that
would take its transmittance to 1e-4 or less. A tile goes through its Gaussians once and
visits only the pixels inside each one's ellipse.
"""

# Numba tells float32 from float64 and so do the kernels, in ways that type checkers cannot follow.
# mypy: disable-error-code="arg-type, call-overload"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from presence.rendering.projection import (
    ALPHA_MIN,
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    G_BLUE,
    G_DEPTH,
    G_GREEN,
    G_OPACITY,
    G_RED,
    G_X,
    G_XX,
    G_XY,
    G_Y,
    G_YY,
    GREEN,
    INV_VAR_Y,
    MARGIN,
    OPACITY,
    REACH2,
    RED,
    ROW_VAR,
    SLOPE,
    TILE,
)

Array = np.ndarray
CHANNELS = 4  # Red, green, blue, depth.
_PIXELS = TILE * TILE
_ALPHA_MIN = np.float32(ALPHA_MIN)
_ALPHA_MAX = np.float32(0.999)
_T_MIN = np.float32(1e-4)
# Added before truncation to round up; what it misses is less than MARGIN.
_ALMOST_ONE = np.float32(0.999)
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _row_range(splats: Array, g: int, cy: float, y_limit: float) -> tuple[int, int]:
    """Returns the first and last row of the tile that Gaussian g's ellipse reaches."""
    reach = math.sqrt(splats[g, REACH2] / splats[g, INV_VAR_Y]) + np.float32(MARGIN)
    return int(max(cy - reach + _ALMOST_ONE, _ZERO)), int(min(cy + reach, y_limit))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _column_range(splats: Array, g: int, cx: float, dy: float, x_limit: float) -> tuple[int, int]:
    """Returns the first and last column inside Gaussian g's ellipse at height dy."""
    rest = max(splats[g, REACH2] - dy * dy * splats[g, INV_VAR_Y], _ZERO)
    half = math.sqrt(splats[g, ROW_VAR] * rest) + np.float32(MARGIN)
    middle = cx + splats[g, SLOPE] * dy
    return int(max(middle - half + _ALMOST_ONE, _ZERO)), int(min(middle + half, x_limit))


@njit(nogil=True, cache=True, error_model="numpy")
def composite_forward(
    first_tile: int, last_tile: int, columns: int, width: int, height: int, centers: Array,
    splats: Array, offsets: Array, ids: Array, image: Array, transmittance: Array, last_hit: Array,
) -> None:  # fmt: skip
    """Blends the tiles first_tile..last_tile.

    Args:
        first_tile: first tile of this call (disjoint ranges may run in parallel).
        last_tile: one past the last.
        columns: tiles across the picture.
        width: picture width in pixels.
        height: picture height in pixels.
        centers: [N 2] float64, pixels.
        splats: [N SPLAT_COLUMNS] float32, see `projection`.
        offsets: [tiles + 1] int64, see `binning.tile_lists`.
        ids: [M] int32.
        image: out, [H W CHANNELS] float32, blended colour and depth without background.
        transmittance: out, [H W] float32, what remains for the background.
        last_hit: out, [H W] int64, the entry of `ids` that contributed last, -1 for none.
    """
    clear, mix = np.empty(_PIXELS, np.float32), np.empty((_PIXELS, CHANNELS), np.float32)
    hit, done = np.empty(_PIXELS, np.int64), np.empty(_PIXELS, np.bool_)
    for tile in range(first_tile, last_tile):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        tile_width, tile_height = min(TILE, width - left), min(TILE, height - top)
        x_limit, y_limit = np.float32(tile_width - 1), np.float32(tile_height - 1)
        clear[:], mix[:], hit[:], done[:] = 1.0, 0.0, -1, False
        open_pixels = tile_width * tile_height
        for entry in range(offsets[tile], offsets[tile + 1]):
            g = ids[entry]
            # Relative to the tile, where float32 keeps more digits.
            cx = np.float32(centers[g, 0] - (left + 0.5))
            cy = np.float32(centers[g, 1] - (top + 0.5))
            a, b, c = splats[g, CONIC_XX], splats[g, CONIC_XY], splats[g, CONIC_YY]
            opacity, depth = splats[g, OPACITY], splats[g, DEPTH]
            red, green, blue = splats[g, RED], splats[g, GREEN], splats[g, BLUE]
            y0, y1 = _row_range(splats, g, cy, y_limit)
            for y in range(y0, y1 + 1):
                dy = np.float32(y) - cy
                x0, x1 = _column_range(splats, g, cx, dy, x_limit)
                for x in range(x0, x1 + 1):
                    p = y * TILE + x
                    if done[p]:
                        continue
                    dx = np.float32(x) - cx
                    sigma = _HALF * (a * dx * dx + c * dy * dy) + b * dx * dy
                    alpha = min(_ALPHA_MAX, opacity * math.exp(-sigma))
                    if sigma < _ZERO or alpha < _ALPHA_MIN:
                        continue
                    remaining = clear[p] * (_ONE - alpha)
                    if remaining <= _T_MIN:
                        done[p] = True
                        open_pixels -= 1
                        continue
                    weight = alpha * clear[p]
                    mix[p, 0] += weight * red
                    mix[p, 1] += weight * green
                    mix[p, 2] += weight * blue
                    mix[p, 3] += weight * depth
                    clear[p] = remaining
                    hit[p] = entry
            if open_pixels == 0:
                break
        for y in range(tile_height):
            for x in range(tile_width):
                p = y * TILE + x
                transmittance[top + y, left + x] = clear[p]
                last_hit[top + y, left + x] = hit[p]
                for channel in range(CHANNELS):
                    image[top + y, left + x, channel] = mix[p, channel]


@njit(nogil=True, cache=True, error_model="numpy")
def composite_backward(
    first_tile: int, last_tile: int, columns: int, width: int, height: int, centers: Array,
    splats: Array, offsets: Array, ids: Array, transmittance: Array, last_hit: Array,
    grad_image: Array, grad_transmittance: Array, slots: Array, grads: Array,
) -> None:  # fmt: skip
    """Returns, for the tiles first_tile..last_tile, the gradient of every tile entry.

    Goes back to front, so that what lies behind a Gaussian is summed up rather than found by
    subtraction. Entries are kept apart and added up later in a fixed order: gradients do not
    depend on how many threads ran.

    Args:
        first_tile: as in `composite_forward`, like the arguments up to `last_hit`.
        last_tile: see `first_tile`.
        columns: see `first_tile`.
        width: see `first_tile`.
        height: see `first_tile`.
        centers: see `first_tile`.
        splats: see `first_tile`.
        offsets: see `first_tile`.
        ids: see `first_tile`.
        transmittance: see `first_tile`.
        last_hit: see `first_tile`.
        grad_image: [H W CHANNELS] float32.
        grad_transmittance: [H W] float32.
        slots: [tiles + 1] int64, where each tile's used entries begin in `grads`.
        grads: out, [slots[-1] GRAD_COLUMNS] float32.
    """
    clear, behind = np.empty(_PIXELS, np.float32), np.empty(_PIXELS, np.float32)
    hit, slope = np.empty(_PIXELS, np.int64), np.empty((_PIXELS, CHANNELS), np.float32)
    for tile in range(first_tile, last_tile):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        tile_width, tile_height = min(TILE, width - left), min(TILE, height - top)
        x_limit, y_limit = np.float32(tile_width - 1), np.float32(tile_height - 1)
        for y in range(tile_height):
            for x in range(tile_width):
                p = y * TILE + x
                clear[p] = transmittance[top + y, left + x]
                hit[p] = last_hit[top + y, left + x]
                behind[p] = grad_transmittance[top + y, left + x] * clear[p]
                for channel in range(CHANNELS):
                    slope[p, channel] = grad_image[top + y, left + x, channel]
        used = slots[tile + 1] - slots[tile]
        for entry in range(offsets[tile] + used - 1, offsets[tile] - 1, -1):
            g, slot = ids[entry], slots[tile] + entry - offsets[tile]
            cx = np.float32(centers[g, 0] - (left + 0.5))
            cy = np.float32(centers[g, 1] - (top + 0.5))
            a, b, c = splats[g, CONIC_XX], splats[g, CONIC_XY], splats[g, CONIC_YY]
            opacity, depth = splats[g, OPACITY], splats[g, DEPTH]
            red, green, blue = splats[g, RED], splats[g, GREEN], splats[g, BLUE]
            # Sums of dL/dsigma times 1, dx, dy, dx^2, dx dy, dy^2, and of dL/dcolour.
            s, sx, sy, sxx, sxy, syy = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
            gr, gg, gb, gd = _ZERO, _ZERO, _ZERO, _ZERO
            y0, y1 = _row_range(splats, g, cy, y_limit)
            for y in range(y0, y1 + 1):
                dy = np.float32(y) - cy
                x0, x1 = _column_range(splats, g, cx, dy, x_limit)
                row_s, row_sx = _ZERO, _ZERO
                for x in range(x0, x1 + 1):
                    p = y * TILE + x
                    if hit[p] < entry:
                        continue
                    dx = np.float32(x) - cx
                    sigma = _HALF * (a * dx * dx + c * dy * dy) + b * dx * dy
                    raw = opacity * math.exp(-sigma)
                    alpha = min(_ALPHA_MAX, raw)
                    if sigma < _ZERO or alpha < _ALPHA_MIN:
                        continue
                    inverse = _ONE / (_ONE - alpha)
                    clear[p] *= inverse
                    weight = alpha * clear[p]
                    vr, vg, vb, vd = slope[p, 0], slope[p, 1], slope[p, 2], slope[p, 3]
                    along = vr * red + vg * green + vb * blue + vd * depth
                    gr += weight * vr
                    gg += weight * vg
                    gb += weight * vb
                    gd += weight * vd
                    if raw <= _ALPHA_MAX:
                        grad_sigma = -raw * (along * clear[p] - behind[p] * inverse)
                        row_s += grad_sigma
                        row_sx += grad_sigma * dx
                        sxx += grad_sigma * dx * dx
                    behind[p] += along * weight
                s += row_s
                sx += row_sx
                sy += row_s * dy
                sxy += row_sx * dy
                syy += row_s * dy * dy
            grads[slot, G_X], grads[slot, G_Y] = -(a * sx + b * sy), -(b * sx + c * sy)
            grads[slot, G_XX], grads[slot, G_XY], grads[slot, G_YY] = _HALF * sxx, sxy, _HALF * syy
            grads[slot, G_OPACITY] = -s / opacity
            grads[slot, G_RED], grads[slot, G_GREEN], grads[slot, G_BLUE] = gr, gg, gb
            grads[slot, G_DEPTH] = gd


@njit(nogil=True, cache=True)
def used_entries(columns: int, width: int, height: int, offsets: Array, last_hit: Array) -> Array:
    """Returns `slots` [tiles + 1] int64: a running count of the entries that any pixel used."""
    slots = np.zeros(len(offsets), np.int64)
    for tile in range(len(offsets) - 1):
        left, top = (tile % columns) * TILE, (tile // columns) * TILE
        last = np.int64(-1)
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                last = max(last, last_hit[y, x])
        slots[tile + 1] = slots[tile] + max(last + 1 - offsets[tile], 0)
    return slots


@njit(nogil=True, cache=True)
def sum_entries(offsets: Array, slots: Array, ids: Array, entry_grads: Array, grads: Array) -> None:
    """Adds entry gradients [slots[-1] G] into `grads` [N G] float64, always in the same order."""
    for tile in range(len(offsets) - 1):
        for slot in range(slots[tile], slots[tile + 1]):
            g = ids[offsets[tile] + slot - slots[tile]]
            for k in range(grads.shape[1]):
                grads[g, k] += entry_grads[slot, k]
