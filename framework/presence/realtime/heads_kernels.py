"""A Triton kernel for many small two-layer MLPs over the same texels; see `heads.FusedHeads`."""

# Triton infers the types of arguments at each launch.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["texels"])
def mlp_heads(
    inputs, weight1, bias1, weight2, bias2, outputs, texels, channels, hidden,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Computes silu(inputs @ weight1 + bias1) @ weight2 + bias2, the hidden layer kept on chip.

    Grid: blocks of texels. Shapes: `inputs` [N channels], `weight1` [INPUTS hidden] (rows
    beyond `channels` 0), `bias1` [hidden] float32, `weight2` [hidden OUTPUTS], `bias2`
    [OUTPUTS] float32, out `outputs` [N OUTPUTS] float32. `hidden` is a multiple of CHUNK.
    """
    texel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = texel.to(tl.int64)[:, None]
    valid = (texel < texels)[:, None]
    channel = tl.arange(0, INPUTS)
    unit = tl.arange(0, CHUNK)
    out = tl.arange(0, OUTPUTS)
    kind: tl.constexpr = weight1.dtype.element_ty
    x = tl.load(
        inputs + row * channels + channel[None, :],
        mask=valid & (channel < channels)[None, :],
        other=0.0,
    ).to(kind)
    total = tl.zeros([BLOCK, OUTPUTS], tl.float32) + tl.load(bias2 + out)[None, :]
    for start in range(0, hidden, CHUNK):
        w1 = tl.load(weight1 + channel[:, None] * hidden + (start + unit)[None, :])
        # Rounded where torch's layers round: after the first layer and after its SiLU.
        h = tl.dot(x, w1) + tl.load(bias1 + start + unit)[None, :]
        h = h.to(kind).to(tl.float32)
        h = (h / (1.0 + tl.exp(-h))).to(kind)
        w2 = tl.load(weight2 + (start + unit)[:, None] * OUTPUTS + out[None, :])
        total = tl.dot(h, w2, total)
    tl.store(outputs + row * OUTPUTS + out[None, :], total, mask=valid)
