"""Transformer blocks for inference in bf16, with one pass between matrix products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.models.layers import TransformerBlock
from presence.models.vit import ViTBlock
from presence.realtime.linear_gelu import GeluMlp, linear_gelu
from presence.realtime.posing import has_triton, on_device


def add_norm(
    x: Tensor,
    norm: nn.LayerNorm | None = None,
    *,
    change: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    total: torch.dtype | None = None,
    normed: torch.dtype = torch.bfloat16,
) -> tuple[Tensor, Tensor]:
    """Returns x + scale * change (+ shift) and the LayerNorm of the sum without shift.

    Args:
        x: [... W].
        norm: None where no norm is wanted.
        change: [... W], added.
        scale: [W], multiplies the change.
        shift: [W], added to the sum alone.
        total: type of the sum; None where it is not wanted.
        normed: type of the norm.

    Returns:
        sum and norm, [... W]; what is not wanted is empty.
    """
    from presence.realtime import norm_kernels

    x = x.contiguous()
    width, nothing = x.shape[-1], x.new_empty(0)
    change = None if change is None else change.contiguous()
    added = nothing if total is None else torch.empty_like(x, dtype=total)
    out = nothing if norm is None else torch.empty_like(x, dtype=normed)
    with on_device(x):
        norm_kernels.add_norm[(x.numel() // width,)](
            x,
            x if change is None else change,
            x if scale is None else scale,
            x if norm is None else norm.weight,
            x if norm is None else norm.bias,
            x if shift is None else shift,
            added,
            out,
            width,
            0.0 if norm is None else norm.eps,
            CHANGE=change is not None,
            SCALE=scale is not None,
            SHIFT=shift is not None,
            NORM=norm is not None,
            TOTAL=total is not None,
            BLOCK=1 << (width - 1).bit_length(),
            num_warps=8 if width > 1024 else 4,
        )
    return added, out


class FusedViTBlock(nn.Module):
    """A frozen `ViTBlock` whose tokens stay in bf16.

    The bias of each residual branch's last product is added to the residual in the pass that takes
    the norm, and the product itself adds to that: sums are rounded once less than in the block.

    Args:
        block: see `suitable`; its layers are used as they are.
    """

    def __init__(self, block: ViTBlock) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention, self.mlp = block.attention, block.mlp

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Transforms tokens [B T C]."""
        attention = self.attention
        types: dict[str, Any] = dict(total=tokens.dtype, normed=tokens.dtype)
        total, normed = add_norm(tokens, self.norm1, shift=attention.out.bias, **types)
        _add_product(total, attention.mix(normed), attention.out)
        first, last = _layers(self.mlp)
        total, normed = add_norm(total, self.norm2, shift=last.bias, **types)
        if isinstance(self.mlp, GeluMlp):
            hidden = linear_gelu(normed, first.weight, first.bias)
        else:
            hidden = F.gelu(first(normed))
        _add_product(total, hidden, last)
        return total


class FusedTransformerBlock(nn.Module):
    """A `TransformerBlock` under bf16 autocast, whose residual stream is float32.

    Args:
        block: its layers are used as they are.
    """

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention, self.mlp = block.attention, block.mlp
        self.scale1, self.scale2 = block.scale1, block.scale2

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> Tensor:
        """Transforms tokens [B T C]."""
        like = self.attention.qkv.weight.dtype
        _, normed = add_norm(tokens, self.norm1, normed=like)
        given = dict(change=self.attention(normed), scale=self.scale1, total=torch.float32)
        tokens, normed = add_norm(tokens, self.norm2, normed=like, **given)
        change = self.mlp(normed)
        return add_norm(tokens, change=change, scale=self.scale2, total=torch.float32)[0]


def fuse_blocks(model: nn.Module) -> int:
    """Replaces the blocks of a model that `suitable` finds; returns how many."""
    count = 0
    for parent in list(model.modules()):
        for name, block in list(parent.named_children()):
            if not suitable(block):
                continue
            fused = FusedViTBlock if isinstance(block, ViTBlock) else FusedTransformerBlock
            setattr(parent, name, fused(block))  # type: ignore[arg-type]
            count += 1
    return count


def suitable(block: nn.Module) -> bool:
    """Whether a block can be fused: its products in bf16, and a ViT's without residual scales."""
    if not has_triton() or not isinstance(block, ViTBlock | TransformerBlock):
        return False
    if isinstance(block, ViTBlock) and (block.scale1 is not None or block.scale2 is not None):
        return False
    layers = _layers(block.mlp)
    products = [*layers, block.attention.qkv, block.attention.out]
    return len(layers) == 2 and all(layer.weight.dtype == torch.bfloat16 for layer in products)


def _layers(mlp: nn.Module) -> list[nn.Linear]:
    """The two products of an MLP with GELU between; none of another MLP."""
    if isinstance(mlp, GeluMlp):
        return [mlp.first, mlp.last]  # type: ignore[list-item]
    kinds = tuple(map(type, mlp)) if isinstance(mlp, nn.Sequential) else ()
    return [mlp[0], mlp[2]] if kinds == (nn.Linear, nn.GELU, nn.Linear) else []  # type: ignore


def _add_product(total: Tensor, x: Tensor, layer: nn.Linear) -> None:
    """Adds x @ weight.T to a sum in place, in the product's own epilogue."""
    total.flatten(0, -2).addmm_(x.flatten(0, -2), layer.weight.t())
