"""Numba kernels that project 3D Gaussians to 2D ones (EWA splatting), forward and backward.

Zwicker et al., "EWA Splatting" (2002), Eq. 24-29, in the conventions of gsplat 1.5: world to
camera by a rigid transform, Jacobian of the perspective division evaluated at a point clamped
to 1.3 times the field of view, and `eps2d` px^2 added to the variances.

A Gaussian's covariance in camera space is M M^T with M = W R(q) diag(s), so its picture has
the covariance T T^T + eps2d I with T = J M [2 3]; the kernels work with T, never with the
3D covariance. Arithmetic is float64 (it costs little here, and thin Gaussians need it).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

Array = np.ndarray

# Numba's disk cache notices a change only in the file that holds a kernel: after changing a
# constant here, touch binning.py and compositing.py too.
TILE = 16  # Edge of the square tiles in pixels.
ALPHA_MIN = 1.0 / 255.0  # Fainter contributions are skipped.
EXTENT = 3.33  # Standard deviations at which opacity 1 falls under ALPHA_MIN.
FRUSTUM_MARGIN = 0.3  # The Jacobian is clamped at this share of half the view beyond its edge.
MARGIN = 0.01  # Pixels by which ranges are widened, so that rounding never drops a pixel.

# Columns of the table of projected Gaussians, [N SPLAT_COLUMNS] float32.
CONIC_XX, CONIC_XY, CONIC_YY, OPACITY, RED, GREEN, BLUE, DEPTH = range(8)
# A row of pixels at height dy crosses the ellipse around x = SLOPE dy, within
# sqrt(ROW_VAR (REACH2 - dy^2 INV_VAR_Y)); REACH2 is the squared Mahalanobis radius.
SLOPE, ROW_VAR, INV_VAR_Y, REACH2 = range(8, 12)
SPLAT_COLUMNS = 12

# Columns of the table of gradients that compositing returns, [N GRAD_COLUMNS].
G_X, G_Y, G_XX, G_XY, G_YY, G_OPACITY, G_RED, G_GREEN, G_BLUE, G_DEPTH = range(10)
GRAD_COLUMNS = 10

# Layout of the packed camera, [16] float64: rotation, translation, focal lengths, centre.
FX, FY, CX, CY = 12, 13, 14, 15


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _camera_point(i: int, means: Array, camera: Array) -> tuple[float, float, float]:
    """Returns the camera-space mean of Gaussian i."""
    x, y, z = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
    return (
        camera[0] * x + camera[1] * y + camera[2] * z + camera[9],
        camera[3] * x + camera[4] * y + camera[5] * z + camera[10],
        camera[6] * x + camera[7] * y + camera[8] * z + camera[11],
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _axes_in_camera(i: int, quaternions: Array, camera: Array, axes: Array) -> float:
    """Fills `axes` [3 3] with W R(q): the Gaussian's axes as columns; returns |q|."""
    w, x = np.float64(quaternions[i, 0]), np.float64(quaternions[i, 1])
    y, z = np.float64(quaternions[i, 2]), np.float64(quaternions[i, 3])
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    r00, r01, r02 = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    r10, r11, r12 = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    r20, r21, r22 = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    for row in range(3):
        a, b, c = camera[3 * row], camera[3 * row + 1], camera[3 * row + 2]
        axes[row, 0] = a * r00 + b * r10 + c * r20
        axes[row, 1] = a * r01 + b * r11 + c * r21
        axes[row, 2] = a * r02 + b * r12 + c * r22
    return norm


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _clamp_to_view(slope: float, focal: float, centre: float, size: int) -> float:
    """Clamps x/z to the field of view widened by FRUSTUM_MARGIN; NaN stays NaN."""
    margin = FRUSTUM_MARGIN * 0.5 * size / focal
    low, high = -(centre / focal + margin), (size - centre) / focal + margin
    return low if slope < low else (high if slope > high else slope)


@njit(nogil=True, cache=True, error_model="numpy")
def project_forward(
    start: int, stop: int, means: Array, quaternions: Array, scales: Array, opacities: Array,
    colors: Array, camera: Array, width: int, height: int, eps2d: float, near: float,
    centers: Array, splats: Array, tiles: Array,
) -> None:  # fmt: skip
    """Projects Gaussians start..stop.

    Args:
        start: first Gaussian of this call (calls over disjoint ranges may run in parallel).
        stop: one past the last.
        means: [N 3] float32, world, metres.
        quaternions: [N 4] float32 wxyz, any length but zero.
        scales: [N 3] float32 standard deviations, metres.
        opacities: [N] float32.
        colors: [N 3] float32.
        camera: [16] float64, see FX.
        width: picture width in pixels.
        height: picture height in pixels.
        eps2d: variance added in both directions, px^2.
        near: Gaussians nearer than this (metres) are dropped.
        centers: out, [N 2] float64, projected means in pixels.
        splats: out, [N SPLAT_COLUMNS] float32.
        tiles: out, [N 4] int32, first and one-past-last tile in x, then in y; empty if dropped.
    """
    axes = np.empty((3, 3))
    fx, fy = camera[FX], camera[FY]
    for i in range(start, stop):
        tiles[i, 0] = tiles[i, 1] = tiles[i, 2] = tiles[i, 3] = 0
        x, y, z = _camera_point(i, means, camera)
        opacity = np.float64(opacities[i])
        # Negated comparisons, so that NaN drops the Gaussian.
        if not (z >= near and z < 1e10 and opacity >= ALPHA_MIN):
            continue
        _axes_in_camera(i, quaternions, camera, axes)
        j02 = -fx / z * _clamp_to_view(x / z, fx, camera[CX], width)
        j12 = -fy / z * _clamp_to_view(y / z, fy, camera[CY], height)
        xx, xy, yy = 0.0, 0.0, 0.0
        for k in range(3):
            scale = np.float64(scales[i, k])
            t0 = (fx / z * axes[0, k] + j02 * axes[2, k]) * scale
            t1 = (fy / z * axes[1, k] + j12 * axes[2, k]) * scale
            xx += t0 * t0
            xy += t0 * t1
            yy += t1 * t1
        xx += eps2d
        yy += eps2d
        det = xx * yy - xy * xy
        if not (det > 0.0 and math.isfinite(det)):
            continue
        cx, cy = fx * x / z + camera[CX], fy * y / z + camera[CY]
        reach = min(EXTENT, math.sqrt(2.0 * math.log(opacity / ALPHA_MIN)))
        reach_x, reach_y = reach * math.sqrt(xx) + MARGIN, reach * math.sqrt(yy) + MARGIN
        # First and last pixel whose centre lies in the box around the ellipse.
        x0, x1 = max(math.ceil(cx - reach_x - 0.5), 0.0), min(cx + reach_x - 0.5, width - 1.0)
        y0, y1 = max(math.ceil(cy - reach_y - 0.5), 0.0), min(cy + reach_y - 0.5, height - 1.0)
        if not (x0 <= x1 and y0 <= y1):
            continue
        tiles[i, 0], tiles[i, 1] = int(x0) // TILE, int(x1) // TILE + 1
        tiles[i, 2], tiles[i, 3] = int(y0) // TILE, int(y1) // TILE + 1
        centers[i, 0], centers[i, 1] = cx, cy
        splats[i, CONIC_XX], splats[i, CONIC_YY] = yy / det, xx / det
        splats[i, CONIC_XY] = -xy / det
        splats[i, OPACITY], splats[i, DEPTH] = opacity, z
        splats[i, RED], splats[i, GREEN], splats[i, BLUE] = colors[i, 0], colors[i, 1], colors[i, 2]
        splats[i, SLOPE], splats[i, ROW_VAR] = xy / yy, det / yy
        splats[i, INV_VAR_Y], splats[i, REACH2] = 1.0 / yy, reach * reach


@njit(nogil=True, cache=True, error_model="numpy")
def _quaternion_gradient(i: int, quaternions: Array, norm: float, g: Array, out: Array) -> None:
    """Writes dL/dq to `out[i]` from dL/dR in `g` [3 3], through the normalisation of q."""
    w, x = quaternions[i, 0] / norm, quaternions[i, 1] / norm
    y, z = quaternions[i, 2] / norm, quaternions[i, 3] / norm
    gw = x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1])
    gx = (
        w * (g[2, 1] - g[1, 2])
        - 2 * x * (g[1, 1] + g[2, 2])
        + y * (g[0, 1] + g[1, 0])
        + z * (g[0, 2] + g[2, 0])
    )
    gy = (
        w * (g[0, 2] - g[2, 0])
        + x * (g[0, 1] + g[1, 0])
        - 2 * y * (g[0, 0] + g[2, 2])
        + z * (g[1, 2] + g[2, 1])
    )
    gz = (
        w * (g[1, 0] - g[0, 1])
        + x * (g[0, 2] + g[2, 0])
        + y * (g[1, 2] + g[2, 1])
        - 2 * z * (g[0, 0] + g[1, 1])
    )
    along = gw * w + gx * x + gy * y + gz * z
    factor = 2.0 / norm
    out[i, 0], out[i, 1] = factor * (gw - along * w), factor * (gx - along * x)
    out[i, 2], out[i, 3] = factor * (gy - along * y), factor * (gz - along * z)


@njit(nogil=True, cache=True, error_model="numpy")
def project_backward(
    start: int, stop: int, means: Array, quaternions: Array, scales: Array, camera: Array,
    width: int, height: int, splats: Array, tiles: Array, grads: Array,
    grad_means: Array, grad_quaternions: Array, grad_scales: Array,
) -> None:  # fmt: skip
    """Carries gradients of the projected Gaussians start..stop back to 3D.

    Args:
        start: first Gaussian of this call (calls over disjoint ranges may run in parallel).
        stop: one past the last.
        means: as in `project_forward`, like the arguments up to `height`.
        quaternions: see `means`.
        scales: see `means`.
        camera: see `means`.
        width: see `means`.
        height: see `means`.
        splats: [N SPLAT_COLUMNS] what the forward pass wrote.
        tiles: [N 4] what the forward pass wrote; Gaussians without tiles are left alone.
        grads: [N GRAD_COLUMNS] gradients of centre, conic, opacity, colour and depth.
        grad_means: out, [N 3] float32, zeroed by the caller like the next two.
        grad_quaternions: out, [N 4] float32.
        grad_scales: out, [N 3] float32.
    """
    axes, g_axes, g_rotation = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    fx, fy = camera[FX], camera[FY]
    for i in range(start, stop):
        if tiles[i, 1] <= tiles[i, 0]:
            continue
        x, y, z = _camera_point(i, means, camera)
        norm = _axes_in_camera(i, quaternions, camera, axes)
        u = _clamp_to_view(x / z, fx, camera[CX], width)
        v = _clamp_to_view(y / z, fy, camera[CY], height)
        j00, j11, j02, j12 = fx / z, fy / z, -fx / z * u, -fy / z * v
        # The conic C is the inverse of the covariance V, hence dL/dV = -C (dL/dC) C.
        a, b = np.float64(splats[i, CONIC_XX]), np.float64(splats[i, CONIC_XY])
        c = np.float64(splats[i, CONIC_YY])
        ga, gb, gc = grads[i, G_XX], 0.5 * grads[i, G_XY], grads[i, G_YY]
        p00, p01, p10, p11 = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
        vxx, vxy, vyy = -(p00 * a + p01 * b), -(p00 * b + p01 * c), -(p10 * b + p11 * c)
        g00, g11, g02, g12 = 0.0, 0.0, 0.0, 0.0
        for k in range(3):
            scale = np.float64(scales[i, k])
            m0, m1, m2 = axes[0, k] * scale, axes[1, k] * scale, axes[2, k] * scale
            t0, t1 = j00 * m0 + j02 * m2, j11 * m1 + j12 * m2
            gt0, gt1 = 2.0 * (vxx * t0 + vxy * t1), 2.0 * (vxy * t0 + vyy * t1)
            g00 += gt0 * m0
            g02 += gt0 * m2
            g11 += gt1 * m1
            g12 += gt1 * m2
            gm0, gm1, gm2 = j00 * gt0, j11 * gt1, j02 * gt0 + j12 * gt1
            grad_scales[i, k] = gm0 * axes[0, k] + gm1 * axes[1, k] + gm2 * axes[2, k]
            g_axes[0, k], g_axes[1, k], g_axes[2, k] = gm0 * scale, gm1 * scale, gm2 * scale
        for row in range(3):
            for k in range(3):
                g_rotation[row, k] = (
                    camera[row] * g_axes[0, k]
                    + camera[3 + row] * g_axes[1, k]
                    + camera[6 + row] * g_axes[2, k]
                )
        _quaternion_gradient(i, quaternions, norm, g_rotation, grad_quaternions)
        gx, gy = j00 * grads[i, G_X], j11 * grads[i, G_Y]
        through_j = j00 * g00 + j11 * g11 + j02 * g02 + j12 * g12
        gz = grads[i, G_DEPTH] - (gx * x + gy * y + through_j) / z
        # Where u or v is clamped it is constant; elsewhere it is x/z or y/z.
        gu, gv = -fx / z * g02, -fy / z * g12
        if u == x / z:
            gx += gu / z
            gz -= gu * u / z
        if v == y / z:
            gy += gv / z
            gz -= gv * v / z
        for k in range(3):
            grad_means[i, k] = camera[k] * gx + camera[3 + k] * gy + camera[6 + k] * gz
