"""`FusedHeads`: the attribute heads of a decoder in one pass over the texels, for inference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from presence.realtime.posing import on_device

BLOCK = 64  # texels a program
CHUNK = 64  # hidden units at a time
OUTPUTS = 16  # columns: at least tensor cores' smallest tile


class FusedHeads(nn.Module):
    """Two-layer MLPs on the same inputs, as one wide first and one block-diagonal second layer.

    For 512 x 512 texels the hidden layers of five heads are 670 MB in bf16, and reading and
    writing them is what the heads cost; here they never leave the chip. Products have
    float32 sums, as under autocast.

    Args:
        mlps: name to `nn.Sequential(Linear, SiLU, Linear)`; together at most 16 outputs.
        dtype: of the products' operands.

    Raises:
        ValueError: a head is built otherwise.
    """

    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor

    def __init__(self, mlps: nn.ModuleDict, *, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        reason = unsuitable(mlps)
        if reason:
            raise ValueError(f"these heads cannot be fused: {reason}")
        first, last = _layers(mlps)
        self.names = list(mlps)
        self.sizes = [layer.out_features for layer in last]
        self.channels = first[0].in_features
        hidden = sum(layer.out_features for layer in first)
        inputs = max(16, 1 << (self.channels - 1).bit_length())
        like = first[0].weight.detach().float()
        weight1, weight2 = like.new_zeros(inputs, hidden), like.new_zeros(hidden, OUTPUTS)
        bias2 = like.new_zeros(OUTPUTS)
        weight1[: self.channels] = torch.cat([layer.weight.detach().float() for layer in first]).T
        row = column = 0
        for one, other in zip(first, last):
            rows, columns = one.out_features, other.out_features
            block = slice(row, row + rows), slice(column, column + columns)
            weight2[block] = other.weight.detach().float().T
            bias2[block[1]] = other.bias.detach().float()
            row, column = row + rows, column + columns
        bias1 = torch.cat([layer.bias.detach().float() for layer in first])
        self.register_buffer("weight1", weight1.to(dtype).contiguous(), persistent=False)
        self.register_buffer("bias1", bias1, persistent=False)
        self.register_buffer("weight2", weight2.to(dtype).contiguous(), persistent=False)
        self.register_buffer("bias2", bias2, persistent=False)

    @torch.no_grad()
    def forward(self, texels: Tensor) -> dict[str, Tensor]:
        """Maps texels [B N C] to raw attributes [B N ...] by name, float32."""
        from presence.realtime import heads_kernels

        flat = texels.reshape(-1, self.channels).contiguous()
        outputs = torch.empty(len(flat), OUTPUTS, dtype=torch.float32, device=flat.device)
        with on_device(flat):
            heads_kernels.mlp_heads[(-(-len(flat) // BLOCK),)](
                flat,
                self.weight1,
                self.bias1,
                self.weight2,
                self.bias2,
                outputs,
                len(flat),
                self.channels,
                self.weight1.shape[1],
                INPUTS=self.weight1.shape[0],
                OUTPUTS=OUTPUTS,
                CHUNK=CHUNK,
                BLOCK=BLOCK,
            )
        pieces = outputs[:, : sum(self.sizes)].split(self.sizes, -1)
        return {n: p.unflatten(0, texels.shape[:-1]) for n, p in zip(self.names, pieces)}


def _layers(mlps: nn.ModuleDict) -> tuple[list[nn.Linear], list[nn.Linear]]:
    """The first and the last layers of heads that `unsuitable` found nothing wrong with."""
    first: list[Any] = [mlp[0] for mlp in mlps.values()]  # type: ignore[index]
    return first, [mlp[2] for mlp in mlps.values()]  # type: ignore[index, misc]


def unsuitable(mlps: object) -> str | None:
    """Returns why heads cannot be fused, None if they can."""
    if not isinstance(mlps, nn.ModuleDict) or not len(mlps):
        return "no ModuleDict of heads"
    kinds = (nn.Linear, nn.SiLU, nn.Linear)
    for name, mlp in mlps.items():
        if not isinstance(mlp, nn.Sequential) or tuple(map(type, mlp)) != kinds:
            return f"{name} is not Linear, SiLU, Linear"
    first, last = _layers(mlps)
    if any(layer.bias is None for layer in (*first, *last)):
        return "one has no bias"
    if any(layer.out_features % CHUNK for layer in first):
        return f"a hidden width is no multiple of {CHUNK}"
    if len({layer.in_features for layer in first}) > 1:
        return "their inputs differ in width"
    if sum(layer.out_features for layer in last) > OUTPUTS:
        return f"more than {OUTPUTS} outputs together"
    return None
