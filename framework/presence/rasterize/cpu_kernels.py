"""The numba kernel behind `CPURasterizer`; imported when first used, as numba is slow to load."""

# mypy: disable-error-code="arg-type"
# (numba takes numpy's integers where the annotations say int.)

from __future__ import annotations

import numba
import numpy as np

from presence.rasterize.fixed_point import SUBPIXEL_BITS, UNUSABLE

ONE = 1 << SUBPIXEL_BITS
HALF = ONE >> 1


@numba.njit(inline="always")
def _first_pixel(low: int) -> int:
    """Returns the first pixel whose centre is at or after `low`."""
    return (low - HALF + ONE - 1) >> SUBPIXEL_BITS


@numba.njit(inline="always")
def _last_pixel(high: int) -> int:
    """Returns the last pixel whose centre is at or before `high`."""
    return (high - HALF) >> SUBPIXEL_BITS


@numba.njit(inline="always")
def _open(dx: int, dy: int) -> int:
    """Returns 1 where an edge does not own the centres on it, 0 for top and left edges.

    Of an edge's two directions exactly one is owned, and around a vertex exactly one face's
    pair of edges is: as if every centre were moved right, and by far less down.
    """
    return 0 if dy < 0 or (dy == 0 and dx > 0) else 1


@numba.njit(nogil=True, error_model="numpy")
def _fill(
    corners: tuple,
    inverse: tuple,
    sign: int,
    face: int,
    box: tuple,
    orthographic: bool,
    face_ids: np.ndarray,
    barycentrics: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Tests and writes the pixels of one face in `box` (left, right, top, bottom, inclusive).

    `corners` is x, y and z of each; `inverse` is 1 / z of each, or 1 when orthographic; `sign`
    is the area's, and turns every face to positive area. Edge k lies opposite corner k; its
    function at a pixel's centre is corner k's share of the area.
    """
    x0, y0, z0, x1, y1, z1, x2, y2, z2 = corners
    k0, k1, k2 = inverse
    left, right, top, bottom = box
    dx0, dy0 = sign * (x2 - x1), sign * (y2 - y1)
    dx1, dy1 = sign * (x0 - x2), sign * (y0 - y2)
    dx2, dy2 = sign * (x1 - x0), sign * (y1 - y0)
    out0, out1, out2 = _open(dx0, dy0), _open(dx1, dy1), _open(dx2, dy2)
    area = np.float32(dx2 * (y2 - y0) - dy2 * (x2 - x0))
    px = left * ONE + HALF
    for row in range(top, bottom + 1):
        py = row * ONE + HALF
        e0 = dx0 * (py - y1) - dy0 * (px - x1) - out0
        e1 = dx1 * (py - y2) - dy1 * (px - x2) - out1
        e2 = dx2 * (py - y0) - dy2 * (px - x0) - out2
        entered = False
        for column in range(left, right + 1):
            if (e0 | e1 | e2) >= 0:
                entered = True
                q0 = np.float32(e0 + out0) * k0
                q1 = np.float32(e1 + out1) * k1
                q2 = np.float32(e2 + out2) * k2
                total = q0 + q1 + q2
                if orthographic:
                    z = z0 + (q1 / total) * (z1 - z0) + (q2 / total) * (z2 - z0)
                else:
                    z = area / total
                if z < depth[row, column]:
                    depth[row, column] = z
                    face_ids[row, column] = face
                    barycentrics[row, column, 0] = q0 / total
                    barycentrics[row, column, 1] = q1 / total
                    barycentrics[row, column, 2] = q2 / total
            elif entered:
                break
            e0 -= dy0 * ONE
            e1 -= dy1 * ONE
            e2 -= dy2 * ONE


@numba.njit(nogil=True, cache=True, error_model="numpy")
def draw_rows(
    fixed: np.ndarray,
    depths: np.ndarray,
    faces: np.ndarray,
    first_row: int,
    stop_row: int,
    cull_backfaces: bool,
    orthographic: bool,
    face_ids: np.ndarray,
    barycentrics: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Clears some rows of one image and draws the part of a mesh that lies in them.

    The arithmetic is float32 in the order that the CUDA kernels use, so that both give the
    same bits.

    Args:
        fixed: [V 2] int32 in 1/4096 px.
        depths: [V] float32 camera z.
        faces: [F 3] int64.
        first_row: first row to draw.
        stop_row: the row after the last.
        cull_backfaces: whether to drop faces that run clockwise on the screen.
        orthographic: whether barycentrics are linear on the screen.
        face_ids: [H W] int64, written.
        barycentrics: [H W 3] float32, written.
        depth: [H W] float32, the z-buffer, written.
    """
    width = face_ids.shape[1]
    face_ids[first_row:stop_row] = -1
    barycentrics[first_row:stop_row] = 0.0
    depth[first_row:stop_row] = np.inf
    one = np.float32(1.0)
    for face in range(faces.shape[0]):
        i0, i1, i2 = faces[face, 0], faces[face, 1], faces[face, 2]
        y0, y1, y2 = np.int64(fixed[i0, 1]), np.int64(fixed[i1, 1]), np.int64(fixed[i2, 1])
        if y0 == UNUSABLE or y1 == UNUSABLE or y2 == UNUSABLE:
            continue
        top = max(_first_pixel(min(y0, y1, y2)), first_row)
        bottom = min(_last_pixel(max(y0, y1, y2)), stop_row - 1)
        if top > bottom:
            continue
        x0, x1, x2 = np.int64(fixed[i0, 0]), np.int64(fixed[i1, 0]), np.int64(fixed[i2, 0])
        left = max(_first_pixel(min(x0, x1, x2)), 0)
        right = min(_last_pixel(max(x0, x1, x2)), width - 1)
        if left > right:
            continue
        # y runs down, so a counter-clockwise face has negative area.
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area == 0 or (cull_backfaces and area > 0):
            continue
        z0, z1, z2 = depths[i0], depths[i1], depths[i2]
        inverse = (one, one, one) if orthographic else (one / z0, one / z1, one / z2)
        _fill(
            (x0, y0, z0, x1, y1, z1, x2, y2, z2),
            inverse,
            1 if area > 0 else -1,
            face,
            (left, right, top, bottom),
            orthographic,
            face_ids,
            barycentrics,
            depth,
        )
