"""`torch.compile` where it pays: on the blocks that a network repeats."""

from __future__ import annotations

from typing import Literal

from torch import nn

from presence.models.layers import ConvBlock, TransformerBlock
from presence.models.vit import ViTBlock

CompileMode = Literal["none", "default", "max-autotune"]
_REPEATED = (TransformerBlock, ViTBlock, ConvBlock)
_TORCH_MODES = {"default": None, "max-autotune": "max-autotune-no-cudagraphs"}


def compile_blocks(model: nn.Module, *, mode: CompileMode = "default") -> int:
    """Compiles a model's repeated blocks in place, one by one, so that alike ones share code.

    A whole network would take minutes to compile; its blocks take seconds. Weights, names and
    results stay as they are. Compilation happens at the first call of each shape.

    Args:
        model: changed in place.
        mode: "max-autotune" also searches for the fastest matrix products; "none" does nothing.

    Returns:
        how many blocks there are.
    """
    if mode == "none":
        return 0
    blocks = [block for block in model.modules() if isinstance(block, _REPEATED)]
    for block in blocks:
        block.compile(mode=_TORCH_MODES[mode], dynamic=False)
    return len(blocks)
