"""Transformer blocks' matrix products and attention alone: what fusing the rest cannot beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from presence.models.attention import BACKENDS, attention_kernels
from presence.models.layers import TransformerBlock
from presence.models.vit import ViTBlock
from presence.profiling.report import Stage
from presence.profiling.timing import Timing, measure


@dataclasses.dataclass
class Used:
    """A kind of block that a model runs.

    Attributes:
        block: the first of them.
        batch: sequences.
        tokens: of a sequence.
        width: channels.
        count: blocks alike.
    """

    block: Any
    batch: int
    tokens: int
    width: int
    count: int = 0


def used_blocks(model: nn.Module, run: Callable[[], Any]) -> list[Used]:
    """Returns the kinds of blocks that a call of a model runs, with their shapes."""
    found: dict[Any, Used] = {}

    def note(block: nn.Module, given: Any) -> None:
        batch, tokens, width = given[0].shape
        key = type(block), batch, tokens, width
        found.setdefault(key, Used(block, batch, tokens, width)).count += 1

    blocks = [m for m in model.modules() if isinstance(m, ViTBlock | TransformerBlock)]
    hooks = [block.register_forward_pre_hook(note) for block in blocks]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def block_stages(
    part: str, model: nn.Module, run: Callable[[], Any], device: torch.device, repeats: int
) -> Iterator[Stage]:
    """Yields, for every kind of block, the sum of its kernels' times, each measured alone.

    Args:
        part: of the profile.
        model: its blocks are looked at.
        run: calls the model.
        device: where it lives; products are bf16 on CUDA.
        repeats: timed calls of each kernel.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for used in used_blocks(model, run):
        seconds, flops = 0.0, 4.0 * used.batch * used.tokens**2 * used.width
        for layer in used.block.modules():
            if isinstance(layer, nn.Linear):
                seconds += _product(layer, used, device, dtype, repeats)
                flops += 2.0 * used.batch * used.tokens * layer.in_features * layer.out_features
        name, attention = _attention(used, device, dtype, repeats)
        total = used.count * (seconds + attention)
        facts = dict(blocks=used.count, attention=name, attention_ms=1e3 * used.count * attention)
        title = f"{used.count} blocks of {used.tokens} x {used.width}, kernels"
        timing = Timing(total, total, total, repeats)
        yield Stage(part, title, timing, used.count * flops, 0.0, facts)


def _product(
    layer: nn.Linear, used: Used, device: torch.device, dtype: torch.dtype, repeats: int
) -> float:
    """Seconds of a linear layer on all tokens."""
    x = torch.randn(used.batch, used.tokens, layer.in_features, device=device, dtype=dtype)
    own = layer.weight.detach().to(dtype), layer.bias.detach().to(dtype)
    return measure(lambda: F.linear(x, *own), device, repeats=repeats).seconds


def _attention(
    used: Used, device: torch.device, dtype: torch.dtype, repeats: int
) -> tuple[str, float]:
    """The fastest attention kernel and its seconds."""
    heads = used.block.attention.heads
    shape = used.batch, used.tokens, 3, heads, used.width // heads
    q, k, v = torch.randn(*shape, device=device, dtype=dtype).permute(2, 0, 3, 1, 4)
    taken = {}
    for name in BACKENDS if device.type == "cuda" else ("torch",):
        with attention_kernels(name):
            timing = measure(
                lambda: F.scaled_dot_product_attention(q, k, v), device, repeats=repeats
            )
        taken[name] = timing.seconds
    best = min(taken, key=taken.__getitem__)
    return best, taken[best]
