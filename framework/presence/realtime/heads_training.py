"""`train_heads`: a decoder's attribute heads forward and backward without storing hidden layers.

Five heads of 256 hidden channels on 8 x 262,144 texels are 5 GB a layer in bf16, which torch writes
and reads a dozen times a step. Here they stay on chip, and the backward pass computes them anew.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.realtime.heads import CHUNK, OUTPUTS, unsuitable
from presence.realtime.posing import has_triton, on_device

BLOCK = 64  # texels at a time
PARTS = 32  # of the texels, whose weight gradients are summed apart


def can_train_fused(mlps: nn.ModuleDict, texels: Tensor) -> bool:
    """Whether `train_heads` may stand in for torch: on CUDA under bf16 autocast."""
    return (
        texels.is_cuda
        and has_triton()
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") == torch.bfloat16
        and unsuitable(mlps) is None
    )


def train_heads(
    mlps: nn.ModuleDict, texels: Tensor, *, dtype: torch.dtype = torch.bfloat16
) -> dict[str, Tensor]:
    """Maps texels [B N C] to raw attributes [B N ...] by name, float32, with gradients.

    Args:
        mlps: name to `nn.Sequential(Linear, SiLU, Linear)`, see `heads.unsuitable`.
        texels: inputs of every head.
        dtype: of the products' operands; sums are float32.
    """
    layers: list[Any] = list(mlps.values())
    sizes = [mlp[2].out_features for mlp in layers]
    weight1 = torch.cat([mlp[0].weight for mlp in layers]).T  # [C H]
    weight2 = torch.block_diag(*(mlp[2].weight for mlp in layers)).T  # [H outputs]
    spare = OUTPUTS - sum(sizes)
    out = _Heads.apply(
        texels.flatten(0, -2).to(dtype),
        F.pad(weight1, (0, 0, 0, padded(weight1.shape[0]) - weight1.shape[0])).to(dtype),
        torch.cat([mlp[0].bias for mlp in layers]).float(),
        F.pad(weight2, (0, spare)).to(dtype),
        F.pad(torch.cat([mlp[2].bias for mlp in layers]), (0, spare)).float(),
    )
    pieces = out[:, : sum(sizes)].split(sizes, -1)
    return {n: p.unflatten(0, texels.shape[:-1]) for n, p in zip(mlps, pieces)}


def padded(channels: int) -> int:
    """Returns the rows that the first layer's weights are filled up to.

    Example:
        >>> padded(5), padded(20)
        (16, 32)
    """
    return max(16, 1 << (channels - 1).bit_length())


class _Heads(torch.autograd.Function):
    """silu(x @ weight1 + bias1) @ weight2 + bias2 in float32 [N OUTPUTS]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor
    ) -> Tensor:
        from presence.realtime import heads_kernels

        x, weight1, weight2 = x.contiguous(), weight1.contiguous(), weight2.contiguous()
        ctx.save_for_backward(x, weight1, bias1, weight2)
        outputs = torch.empty(len(x), OUTPUTS, dtype=torch.float32, device=x.device)
        with on_device(x):
            heads_kernels.mlp_heads[(-(-len(x) // BLOCK),)](
                x,
                weight1,
                bias1,
                weight2,
                bias2,
                outputs,
                *_sizes(x, weight1),
                **_constants(weight1),
            )
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, ...]:
        from presence.realtime import heads_kernels

        x, weight1, bias1, weight2 = ctx.saved_tensors
        (grad,) = grads
        given = x, weight1, bias1, weight2, grad.to(x.dtype).contiguous()
        inputs, hidden = weight1.shape
        to_x = torch.empty_like(x)
        to_weight1, to_bias1, to_weight2 = (
            torch.empty(PARTS, *shape, dtype=torch.float32, device=x.device)
            for shape in ((inputs, hidden), (hidden,), (hidden, OUTPUTS))
        )
        with on_device(x):
            heads_kernels.mlp_heads_to_inputs[(-(-len(x) // BLOCK),)](
                *given, to_x, *_sizes(x, weight1), **_constants(weight1)
            )
            heads_kernels.mlp_heads_to_weights[(hidden // CHUNK, PARTS)](
                *given, to_weight1, to_bias1, to_weight2, *_sizes(x, weight1), **_constants(weight1)
            )
        return (
            to_x,
            to_weight1.sum(0).to(weight1.dtype),
            to_bias1.sum(0),
            to_weight2.sum(0).to(weight2.dtype),
            grad.sum(0),
        )


def _sizes(x: Tensor, weight1: Tensor) -> tuple[int, int, int]:
    return len(x), x.shape[1], weight1.shape[1]


def _constants(weight1: Tensor) -> dict[str, int]:
    return dict(INPUTS=weight1.shape[0], OUTPUTS=OUTPUTS, CHUNK=CHUNK, BLOCK=BLOCK)
