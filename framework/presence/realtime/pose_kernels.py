"""Triton kernels that pose an avatar: joint chains, skinned vertices, Gaussians on the surface.

The torch functions that they repeat are `presence.bodies.skinning`, `matrix_to_quaternion` and
`Avatar.pose`; all arithmetic is float32. A vertex passes from kernel to kernel as one 32-byte
row, so that a Gaussian reads each of its corners with one sector:
x, y, z (m), 0, then its skinning rotation as a quaternion w, x, y, z.
"""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

SIZES = ["joint_count", "vertices", "points"]
"""Arguments for whose values no variant is compiled, so that a new size starts at once."""

JOINT_LANES = 64


@triton.jit
def _load3(pointer, row, mask):
    """Loads rows of three numbers."""
    x = tl.load(pointer + row * 3, mask=mask, other=0.0)
    y = tl.load(pointer + row * 3 + 1, mask=mask, other=0.0)
    z = tl.load(pointer + row * 3 + 2, mask=mask, other=0.0)
    return x, y, z


@triton.jit
def _store_affine(to, row, mask, a, b, c, d, e, f, g, h, i, x, y, z):
    """Stores affine maps as rows of a 3 x 4 matrix; a..i is the linear part row by row."""
    tl.store(to + row * 12, a, mask=mask)
    tl.store(to + row * 12 + 1, b, mask=mask)
    tl.store(to + row * 12 + 2, c, mask=mask)
    tl.store(to + row * 12 + 3, x, mask=mask)
    tl.store(to + row * 12 + 4, d, mask=mask)
    tl.store(to + row * 12 + 5, e, mask=mask)
    tl.store(to + row * 12 + 6, f, mask=mask)
    tl.store(to + row * 12 + 7, y, mask=mask)
    tl.store(to + row * 12 + 8, g, mask=mask)
    tl.store(to + row * 12 + 9, h, mask=mask)
    tl.store(to + row * 12 + 10, i, mask=mask)
    tl.store(to + row * 12 + 11, z, mask=mask)


@triton.jit
def _load_affine(pointer, row, mask):
    """Loads affine maps that `_store_affine` wrote; the linear part first."""
    a = tl.load(pointer + row * 12, mask=mask, other=0.0)
    b = tl.load(pointer + row * 12 + 1, mask=mask, other=0.0)
    c = tl.load(pointer + row * 12 + 2, mask=mask, other=0.0)
    x = tl.load(pointer + row * 12 + 3, mask=mask, other=0.0)
    d = tl.load(pointer + row * 12 + 4, mask=mask, other=0.0)
    e = tl.load(pointer + row * 12 + 5, mask=mask, other=0.0)
    f = tl.load(pointer + row * 12 + 6, mask=mask, other=0.0)
    y = tl.load(pointer + row * 12 + 7, mask=mask, other=0.0)
    g = tl.load(pointer + row * 12 + 8, mask=mask, other=0.0)
    h = tl.load(pointer + row * 12 + 9, mask=mask, other=0.0)
    i = tl.load(pointer + row * 12 + 10, mask=mask, other=0.0)
    z = tl.load(pointer + row * 12 + 11, mask=mask, other=0.0)
    return a, b, c, d, e, f, g, h, i, x, y, z


@triton.jit(do_not_specialize=SIZES)
def chain_joints(
    pose, rest_joints, translation, ancestors, scratch, transforms, joints, rotations,
    joint_count, STEPS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Chains joint rotations from the root outwards, in log2(depth) steps of pointer jumping.

    After step s a joint's map reaches over its nearest 2^(s+1) links, so every step composes it
    with the map of the ancestor 2^s links up. One program a body; its lanes meet at barriers.

    Shapes: `pose` [B J 3] axis-angle, `rest_joints` [B J 3], `translation` [B 3], `ancestors`
    [STEPS LANES] int32 (-1: none), `scratch` [B 2 LANES 12]; out `transforms` [B J 12] posed
    from rest with the translation, `joints` [B J 3], `rotations` [B J 9] (each joint's own).
    """
    body = tl.program_id(0)
    lane = tl.arange(0, LANES)
    valid = lane < joint_count
    row = body * joint_count + lane
    vx, vy, vz = _load3(pose, row, valid)
    # Axis-angle to quaternion to matrix, by the series where the angle is tiny.
    squared = vx * vx + vy * vy + vz * vz
    small = squared < 1e-8
    angle = tl.sqrt(tl.where(small, 1.0, squared))
    factor = tl.where(small, 0.5 - squared / 48.0, tl.sin(angle * 0.5) / angle)
    w = tl.where(small, 1.0 - squared / 8.0, tl.cos(angle * 0.5))
    x, y, z = vx * factor, vy * factor, vz * factor
    inverse = 1.0 / tl.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    a, b, c = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    d, e, f = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    g, h, i = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    own = rotations + row * 9
    tl.store(own, a, mask=valid)
    tl.store(own + 1, b, mask=valid)
    tl.store(own + 2, c, mask=valid)
    tl.store(own + 3, d, mask=valid)
    tl.store(own + 4, e, mask=valid)
    tl.store(own + 5, f, mask=valid)
    tl.store(own + 6, g, mask=valid)
    tl.store(own + 7, h, mask=valid)
    tl.store(own + 8, i, mask=valid)

    jx, jy, jz = _load3(rest_joints, row, valid)
    parent = tl.load(ancestors + lane)
    px, py, pz = _load3(rest_joints, body * joint_count + parent, valid & (parent >= 0))
    tx, ty, tz = jx - px, jy - py, jz - pz
    for step in tl.static_range(STEPS):
        here = scratch + (body * 2 + step % 2) * LANES * 12
        _store_affine(here, lane, lane < LANES, a, b, c, d, e, f, g, h, i, tx, ty, tz)
        tl.debug_barrier()
        up = tl.load(ancestors + step * LANES + lane)
        has = up >= 0
        A, B, C, D, E, F, G, H, L, X, Y, Z = _load_affine(here, tl.maximum(up, 0), has)
        na, nb, nc = A * a + B * d + C * g, A * b + B * e + C * h, A * c + B * f + C * i
        nd, ne, nf = D * a + E * d + F * g, D * b + E * e + F * h, D * c + E * f + F * i
        ng, nh, ni = G * a + H * d + L * g, G * b + H * e + L * h, G * c + H * f + L * i
        nx = A * tx + B * ty + C * tz + X
        ny = D * tx + E * ty + F * tz + Y
        nz = G * tx + H * ty + L * tz + Z
        a, b, c = tl.where(has, na, a), tl.where(has, nb, b), tl.where(has, nc, c)
        d, e, f = tl.where(has, nd, d), tl.where(has, ne, e), tl.where(has, nf, f)
        g, h, i = tl.where(has, ng, g), tl.where(has, nh, h), tl.where(has, ni, i)
        tx, ty, tz = tl.where(has, nx, tx), tl.where(has, ny, ty), tl.where(has, nz, tz)

    sx = tl.load(translation + body * 3)
    sy = tl.load(translation + body * 3 + 1)
    sz = tl.load(translation + body * 3 + 2)
    tx, ty, tz = tx + sx, ty + sy, tz + sz
    tl.store(joints + row * 3, tx, mask=valid)
    tl.store(joints + row * 3 + 1, ty, mask=valid)
    tl.store(joints + row * 3 + 2, tz, mask=valid)
    tx = tx - (a * jx + b * jy + c * jz)
    ty = ty - (d * jx + e * jy + f * jz)
    tz = tz - (g * jx + h * jy + i * jz)
    _store_affine(transforms, row, valid, a, b, c, d, e, f, g, h, i, tx, ty, tz)


@triton.jit
def _quaternion(a, b, c, d, e, f, g, h, i):
    """Returns w, x, y, z with w >= 0 of nearly orthogonal matrices; the largest divisor wins."""
    sw = tl.maximum(1 + a + e + i, 1e-12)
    sx = tl.maximum(1 + a - e - i, 1e-12)
    sy = tl.maximum(1 - a + e - i, 1e-12)
    sz = tl.maximum(1 - a - e + i, 1e-12)
    best = tl.maximum(tl.maximum(sw, sx), tl.maximum(sy, sz))
    by_w = sw == best
    by_x = (sx == best) & ~by_w
    by_y = (sy == best) & ~by_w & ~by_x
    w = tl.where(by_w, sw, tl.where(by_x, h - f, tl.where(by_y, c - g, d - b)))
    x = tl.where(by_w, h - f, tl.where(by_x, sx, tl.where(by_y, d + b, g + c)))
    y = tl.where(by_w, c - g, tl.where(by_x, d + b, tl.where(by_y, sy, h + f)))
    z = tl.where(by_w, d - b, tl.where(by_x, c + g, tl.where(by_y, f + h, sz)))
    scale = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    scale = tl.where(w < 0, -scale, scale)
    return w * scale, x * scale, y * scale, z * scale


@triton.jit
def _store_vertex(rows, row, mask, px, py, pz, w, x, y, z):
    """Writes the 32-byte rows of vertices."""
    tl.store(rows + row * 8, px, mask=mask)
    tl.store(rows + row * 8 + 1, py, mask=mask)
    tl.store(rows + row * 8 + 2, pz, mask=mask)
    tl.store(rows + row * 8 + 3, 0.0, mask=mask)
    tl.store(rows + row * 8 + 4, w, mask=mask)
    tl.store(rows + row * 8 + 5, x, mask=mask)
    tl.store(rows + row * 8 + 6, y, mask=mask)
    tl.store(rows + row * 8 + 7, z, mask=mask)


@triton.jit(do_not_specialize=SIZES)
def skin_vertices(
    rest, transforms, joint_ids, joint_weights, rows, vertices, joint_count,
    INFLUENCES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Moves rest vertices by their blended joint transforms and writes vertex rows.

    Grid: (blocks of vertices, bodies). Shapes: `rest` [B V 3], `transforms` [B J 12],
    `joint_ids` [V K] int32, `joint_weights` [V K], out `rows` [B V 8].
    """
    body = tl.program_id(1)
    vertex = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = vertex < vertices
    zero = tl.zeros([BLOCK], tl.float32)
    a, b, c, d, e, f = zero, zero, zero, zero, zero, zero
    g, h, i, x, y, z = zero, zero, zero, zero, zero, zero
    for k in range(INFLUENCES):
        joint = tl.load(joint_ids + vertex * INFLUENCES + k, mask=valid, other=0)
        weight = tl.load(joint_weights + vertex * INFLUENCES + k, mask=valid, other=0.0)
        A, B, C, D, E, F, G, H, L, X, Y, Z = _load_affine(
            transforms, body * joint_count + joint, valid
        )
        a, b, c, x = a + weight * A, b + weight * B, c + weight * C, x + weight * X
        d, e, f, y = d + weight * D, e + weight * E, f + weight * F, y + weight * Y
        g, h, i, z = g + weight * G, h + weight * H, i + weight * L, z + weight * Z
    row = body * vertices + vertex
    px, py, pz = _load3(rest, row, valid)
    qx = a * px + b * py + c * pz + x
    qy = d * px + e * py + f * pz + y
    qz = g * px + h * py + i * pz + z
    w, u, v, t = _quaternion(a, b, c, d, e, f, g, h, i)
    _store_vertex(rows, row, valid, qx, qy, qz, w, u, v, t)


@triton.jit(do_not_specialize=SIZES)
def pack_vertices(positions, rotations, rows, vertices, BLOCK: tl.constexpr):
    """Writes the rows of vertices that are already posed.

    Grid: (blocks of vertices, bodies). Shapes: `positions` [B V 3], `rotations` [B V 9].
    """
    vertex = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = vertex < vertices
    row = tl.program_id(1) * vertices + vertex
    px, py, pz = _load3(positions, row, valid)
    a, b, c = _load3(rotations, row * 3, valid)
    d, e, f = _load3(rotations, row * 3 + 1, valid)
    g, h, i = _load3(rotations, row * 3 + 2, valid)
    w, x, y, z = _quaternion(a, b, c, d, e, f, g, h, i)
    _store_vertex(rows, row, valid, px, py, pz, w, x, y, z)


@triton.jit
def _corner(rows, row, mask):
    """Loads position and quaternion of vertices."""
    px = tl.load(rows + row * 8, mask=mask, other=0.0)
    py = tl.load(rows + row * 8 + 1, mask=mask, other=0.0)
    pz = tl.load(rows + row * 8 + 2, mask=mask, other=0.0)
    w = tl.load(rows + row * 8 + 4, mask=mask, other=0.0)
    x = tl.load(rows + row * 8 + 5, mask=mask, other=0.0)
    y = tl.load(rows + row * 8 + 6, mask=mask, other=0.0)
    z = tl.load(rows + row * 8 + 7, mask=mask, other=0.0)
    return px, py, pz, w, x, y, z


@triton.jit
def _side(dot):
    """Returns the sign of a product of quaternions: 1, -1, or 0 at right angles."""
    return tl.where(dot > 0, 1.0, tl.where(dot < 0, -1.0, 0.0))


@triton.jit(do_not_specialize=SIZES)
def pose_points(
    rows, vertex_ids, barycentrics, offsets, orientations, keep, means, quaternions,
    vertices, points, canonical_rows,
    ROTATE: tl.constexpr, KEEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Carries canonical Gaussians along with the vertices that they are bound to.

    Grid: (blocks of points, frames). Shapes: `rows` [B V 8], `vertex_ids` [N 3] int, `barycentrics`
    [N 3], `offsets` [B or 1, N 3], `orientations` [B or 1, N 4], `keep` [N] uint8 (with KEEP: not
    0 where only the offset turns), out `means` [B N 3], `quaternions` [B N 4].
    `canonical_rows` is N where every frame has its own avatar, else 0.
    """
    frame = tl.program_id(1)
    point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = point < points
    i0 = tl.load(vertex_ids + point * 3, mask=valid, other=0)
    i1 = tl.load(vertex_ids + point * 3 + 1, mask=valid, other=0)
    i2 = tl.load(vertex_ids + point * 3 + 2, mask=valid, other=0)
    b0, b1, b2 = _load3(barycentrics, point, valid)
    first = frame * vertices
    x0, y0, z0, p0, q0, r0, s0 = _corner(rows, first + i0, valid)
    x1, y1, z1, p1, q1, r1, s1 = _corner(rows, first + i1, valid)
    x2, y2, z2, p2, q2, r2, s2 = _corner(rows, first + i2, valid)
    px = b0 * x0 + b1 * x1 + b2 * x2
    py = b0 * y0 + b1 * y1 + b2 * y2
    pz = b0 * z0 + b1 * z1 + b2 * z2
    own = frame * canonical_rows + point
    ox, oy, oz = _load3(offsets, own, valid)
    cw = tl.load(orientations + own * 4, mask=valid, other=1.0)
    cx = tl.load(orientations + own * 4 + 1, mask=valid, other=0.0)
    cy = tl.load(orientations + own * 4 + 2, mask=valid, other=0.0)
    cz = tl.load(orientations + own * 4 + 3, mask=valid, other=0.0)
    if ROTATE:
        # q and -q are one rotation: all corners go to the first one's side.
        c0 = b0 * _side(p0 * p0 + q0 * q0 + r0 * r0 + s0 * s0)
        c1 = b1 * _side(p0 * p1 + q0 * q1 + r0 * r1 + s0 * s1)
        c2 = b2 * _side(p0 * p2 + q0 * q2 + r0 * r2 + s0 * s2)
        w = c0 * p0 + c1 * p1 + c2 * p2
        x = c0 * q0 + c1 * q1 + c2 * q2
        y = c0 * r0 + c1 * r1 + c2 * r2
        z = c0 * s0 + c1 * s1 + c2 * s2
        scale = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
        w, x, y, z = w * scale, x * scale, y * scale, z * scale
        ux, uy, uz = 2 * (y * oz - z * oy), 2 * (z * ox - x * oz), 2 * (x * oy - y * ox)
        ox, oy, oz = (
            ox + w * ux + (y * uz - z * uy),
            oy + w * uy + (z * ux - x * uz),
            oz + w * uz + (x * uy - y * ux),
        )
        if KEEP:
            # The identity in the blended rotation's place.
            kept = tl.load(keep + point, mask=valid, other=0) != 0
            w = tl.where(kept, 1.0, w)
            x = tl.where(kept, 0.0, x)
            y = tl.where(kept, 0.0, y)
            z = tl.where(kept, 0.0, z)
        cw, cx, cy, cz = (
            w * cw - x * cx - y * cy - z * cz,
            w * cx + x * cw + y * cz - z * cy,
            w * cy - x * cz + y * cw + z * cx,
            w * cz + x * cy - y * cx + z * cw,
        )
    out = frame.to(tl.int64) * points + point
    tl.store(means + out * 3, px + ox, mask=valid)
    tl.store(means + out * 3 + 1, py + oy, mask=valid)
    tl.store(means + out * 3 + 2, pz + oz, mask=valid)
    tl.store(quaternions + out * 4, cw, mask=valid)
    tl.store(quaternions + out * 4 + 1, cx, mask=valid)
    tl.store(quaternions + out * 4 + 2, cy, mask=valid)
    tl.store(quaternions + out * 4 + 3, cz, mask=valid)


INTERPRETED = isinstance(pose_points, InterpretedFunction)
"""Whether TRITON_INTERPRET=1 was set at import, so that the kernels run on the CPU."""
