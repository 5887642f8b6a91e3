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


@triton.jit
def _hidden(x, g, w1, b1, w2, kind: tl.constexpr):
    """Returns silu of the hidden layer and the gradient that reaches its inside, [BLOCK CHUNK]."""
    h = (tl.dot(x, w1) + b1[None, :]).to(kind).to(tl.float32)
    share = 1.0 / (1.0 + tl.exp(-h))
    slope = tl.dot(g, tl.trans(w2)) * share * (1.0 + h * (1.0 - share))
    return (h * share).to(kind), slope.to(kind)


@triton.jit(do_not_specialize=["texels"])
def mlp_heads_to_inputs(
    inputs, weight1, bias1, weight2, grads, to_inputs, texels, channels, hidden,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the inputs; the hidden layer is computed anew.

    Grid: blocks of texels. Shapes as in `mlp_heads`; `grads` [N OUTPUTS], out `to_inputs`
    [N channels].
    """
    texel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row = texel.to(tl.int64)[:, None]
    channel, unit, out = tl.arange(0, INPUTS), tl.arange(0, CHUNK), tl.arange(0, OUTPUTS)
    kind: tl.constexpr = weight1.dtype.element_ty
    held = (texel < texels)[:, None] & (channel < channels)[None, :]
    x = tl.load(inputs + row * channels + channel[None, :], mask=held, other=0.0)
    g = tl.load(grads + row * OUTPUTS + out[None, :], mask=(texel < texels)[:, None], other=0.0)
    total = tl.zeros([BLOCK, INPUTS], tl.float32)
    for start in range(0, hidden, CHUNK):
        w1 = tl.load(weight1 + channel[:, None] * hidden + (start + unit)[None, :])
        w2 = tl.load(weight2 + (start + unit)[:, None] * OUTPUTS + out[None, :])
        b1 = tl.load(bias1 + start + unit)
        _, slope = _hidden(x, g, w1, b1, w2, kind)
        total = tl.dot(slope, tl.trans(w1), total)
    tl.store(to_inputs + row * channels + channel[None, :], total, mask=held)


@triton.jit(do_not_specialize=["texels"])
def mlp_heads_to_weights(
    inputs, weight1, bias1, weight2, grads, to_weight1, to_bias1, to_weight2,
    texels, channels, hidden,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the weights, a sum over the texels of each part.

    Grid: chunks of the hidden layer x parts of the texels. Shapes as in `mlp_heads`; out, all
    float32, `to_weight1` [parts INPUTS hidden], `to_bias1` [parts hidden], `to_weight2`
    [parts hidden OUTPUTS].
    """
    part, parts = tl.program_id(1), tl.num_programs(1)
    channel, out = tl.arange(0, INPUTS), tl.arange(0, OUTPUTS)
    unit = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    kind: tl.constexpr = weight1.dtype.element_ty
    w1 = tl.load(weight1 + channel[:, None] * hidden + unit[None, :])
    w2 = tl.load(weight2 + unit[:, None] * OUTPUTS + out[None, :])
    b1 = tl.load(bias1 + unit)
    sum1 = tl.zeros([INPUTS, CHUNK], tl.float32)
    sum2 = tl.zeros([CHUNK, OUTPUTS], tl.float32)
    sum_bias = tl.zeros([CHUNK], tl.float32)
    for block in range(part, tl.cdiv(texels, BLOCK), parts):
        texel = block * BLOCK + tl.arange(0, BLOCK)
        row = texel.to(tl.int64)[:, None]
        valid = (texel < texels)[:, None]
        held = valid & (channel < channels)[None, :]
        x = tl.load(inputs + row * channels + channel[None, :], mask=held, other=0.0)
        g = tl.load(grads + row * OUTPUTS + out[None, :], mask=valid, other=0.0)
        active, slope = _hidden(x, g, w1, b1, w2, kind)
        sum1 = tl.dot(tl.trans(x), slope, sum1)
        sum2 = tl.dot(tl.trans(active), g, sum2)
        sum_bias += tl.sum(slope.to(tl.float32), axis=0)
    at = part * hidden
    tl.store(to_weight1 + (part * INPUTS + channel)[:, None] * hidden + unit[None, :], sum1)
    tl.store(to_bias1 + at + unit, sum_bias)
    tl.store(to_weight2 + (at + unit)[:, None] * OUTPUTS + out[None, :], sum2)
