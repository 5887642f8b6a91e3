"""Sapiens (Khirodkar et al., ECCV 2024): the paper's frozen encoder, from its released files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.models.pretrained import (
    Background,
    Precision,
    PretrainedEncoder,
    check_choice,
    load_trunk,
)
from presence.models.vit import VisionTransformer
from presence.models.weight_files import renamed, strip_prefix
from presence.registry import ENCODERS

# Model size to (width, depth, heads); table 1 of the paper.
SIZES = {
    "0.3b": (1024, 24, 16),
    "0.6b": (1280, 32, 16),
    "1b": (1536, 40, 24),
    "2b": (1920, 48, 32),
}
# The released scripts normalise by these, of 255 (the training configs by 123.675 and so on).
MEAN = (123.5 / 255, 116.5 / 255, 103.5 / 255)
STD = (58.5 / 255, 57.0 / 255, 57.5 / 255)
NATIVE_GRID = (64, 64)  # 1024 x 1024 pixels


@ENCODERS.register()
class SapiensEncoder(PretrainedEncoder):
    """Sapiens' pretrained encoder: features at stride 16, 64 x 64 for 1024 x 1024 pixels.

    Reads `.pth`, `.safetensors` and TorchScript files, the last as a container of weights only.

    Args:
        size: model size; 1b is the paper's.
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"`.
        image_size: longer side, or (height, width), of the network's input.
        background: what replaces the portrait's background.
        frozen: whether the network stays as released.
        dtype: arithmetic of the network.
        mean: of each input channel, in 0..1.
        std: of each input channel, in 0..1.
        depth: only the first blocks, for tests and profiling; None for all.
        states: hidden states to return one after another along the channels, in this order, in
            place of the final features; state 0 enters the first block, state k leaves the k-th,
            none is normalised.
    """

    def __init__(
        self,
        *,
        size: Literal["0.3b", "0.6b", "1b", "2b"] = "1b",
        weights: str = "official",
        image_size: int | Sequence[int] = 1024,
        background: Background = "white",
        frozen: bool = True,
        dtype: Precision = "bfloat16",
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        depth: int | None = None,
        states: Sequence[int] | None = None,
    ) -> None:
        width, full_depth, heads = SIZES[check_choice("size", size, SIZES)]
        trunk, missing = load_trunk(
            lambda: VisionTransformer(width, depth or full_depth, heads, grid=NATIVE_GRID),
            weights=weights,
            asset=f"sapiens_{size}",
            frozen=frozen,
            dtype=dtype,
            official_name=official_name,
            ignored=IGNORED,
            select=lambda tensors: strip_prefix(tensors, "backbone."),
        )
        super().__init__(
            trunk,
            missing,
            patch=16,
            image_size=image_size,
            mean=mean,
            std=std,
            background=background,
            frozen=frozen,
            dtype=dtype,
        )
        self.states = None if states is None else tuple(int(state) for state in states)
        last = depth or full_depth
        if self.states is not None and not {*self.states} <= {*range(last + 1)}:
            raise ConfigError(f"states={list(self.states)} should lie within 0..{last}")
        self.out_channels = width * (len(self.states) if self.states else 1)

    def encode(self, images: Tensor) -> Tensor:
        """Returns the final block's normalised features [B C h w], or the chosen states."""
        with self.running(images) as inputs:
            return self.trunk(inputs) if self.states is None else self._hidden(inputs)

    def _hidden(self, images: Tensor) -> Tensor:
        """Returns the hidden states [B states*C h w]."""
        network: Any = self.trunk
        assert self.states is not None
        x = network.embed(images)
        found = {0: x}
        for number, block in enumerate(network.blocks[: max(self.states)], 1):
            x = block(x)
            if number in self.states:
                found[number] = x
        grid = network.grid_of(images)
        return torch.cat([network.to_map(found[state], grid) for state in self.states], 1)


def official_name(name: str) -> str:
    """Returns the released files' name of a weight of `VisionTransformer`.

    Example:
        >>> official_name("blocks.3.attention.out.weight")
        'layers.3.attn.proj.weight'
    """
    return renamed(name, _RENAMES)


# What files of whole pretraining or pose networks hold beside the encoder.
IGNORED = (r"(neck|head|decode_head|data_preprocessor|target_generator)\..*",)

_RENAMES = (
    (r"^class_token$", "cls_token"),
    (r"^position$", "pos_embed"),
    (r"^patch\.", "patch_embed.projection."),
    (r"^norm\.", "ln1."),
    (r"^blocks\.", "layers."),
    (r"\.norm([12])\.", r".ln\1."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".ffn.layers.0.0."),
    (r"\.mlp\.2\.", ".ffn.layers.1."),
)
