"""`torch.compile` where it pays: on the blocks that a network repeats."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from presence.models.layers import ConvBlock, SelfAttention, TransformerBlock
from presence.models.vit import ViTBlock

CompileMode = Literal["none", "default", "max-autotune"]
_REPEATED = (TransformerBlock, ViTBlock, ConvBlock)
_TORCH_MODES = {"default": None, "max-autotune": "max-autotune-no-cudagraphs"}


def compile_blocks(model: nn.Module, *, mode: CompileMode = "default") -> int:
    """Compiles a model's repeated blocks in place, one by one, so that alike ones share code.

    A whole network would take minutes to compile; its blocks take seconds. Weights, names and
    results stay as they are. Compilation happens at the first call of each shape. Attention stays
    outside: compiled, torch 2.11 copies queries, keys and values before cuDNN's kernel, and code
    from its cache keeps the kernel of an earlier run (see `presence.models.attention`).

    Args:
        model: changed in place.
        mode: "max-autotune" also searches for the fastest matrix products; "none" does nothing.

    Returns:
        how many blocks there are.
    """
    if mode == "none":
        return 0
    attend = torch.compiler.disable(F.scaled_dot_product_attention)
    for layer in model.modules():
        if isinstance(layer, SelfAttention):
            layer.attend = attend  # type: ignore[method-assign]
    blocks = [block for block in model.modules() if isinstance(block, _REPEATED)]
    for block in blocks:
        block.compile(mode=_TORCH_MODES[mode], dynamic=False)
    return len(blocks)
