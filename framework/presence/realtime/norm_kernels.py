"""A Triton kernel for what lies between the matrix products of transformer blocks."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def add_norm(
    x, change, scale, weight, bias, shift, total, normed, width, eps,
    CHANGE: tl.constexpr, SCALE: tl.constexpr, SHIFT: tl.constexpr, NORM: tl.constexpr,
    TOTAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes sums x + scale * change and their LayerNorm in one pass.

    Grid: rows. Shapes: `x` and `change` [N W]; `scale`, `weight`, `bias`, `shift` [W]; out `total`
    [N W], with `shift` added after the norm was taken, and `normed` [N W]. What a flag switches
    off is neither read nor written.
    """
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, BLOCK)
    valid = column < width
    value = tl.load(x + row + column, mask=valid, other=0.0).to(tl.float32)
    if CHANGE:
        more = tl.load(change + row + column, mask=valid, other=0.0).to(tl.float32)
        if SCALE:
            more = more * tl.load(scale + column, mask=valid, other=0.0).to(tl.float32)
        value = value + more
    if NORM:
        mean = tl.sum(value, axis=0) / width
        centred = tl.where(valid, value - mean, 0.0)
        deviation = tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps)
        w = tl.load(weight + column, mask=valid, other=0.0).to(tl.float32)
        b = tl.load(bias + column, mask=valid, other=0.0).to(tl.float32)
        tl.store(normed + row + column, centred / deviation * w + b, mask=valid)
    if TOTAL:
        if SHIFT:
            value = value + tl.load(shift + column, mask=valid, other=0.0).to(tl.float32)
        tl.store(total + row + column, value, mask=valid)
