"""DINOv2 (Oquab et al., 2023), with and without registers, from its released files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.models.pretrained import (
    Background,
    Precision,
    PretrainedEncoder,
    check_choice,
    load_trunk,
)
from presence.models.vit import VisionTransformer
from presence.models.weight_files import renamed
from presence.registry import ENCODERS

# Model size to (width, depth, heads), as in the paper's appendix.
SIZES = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "g": (1536, 40, 24)}
# Depth to the blocks that LHM and LAM fuse.
FUSED_LAYERS = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}
MEAN = (0.485, 0.456, 0.406)  # ImageNet's
STD = (0.229, 0.224, 0.225)
NATIVE_GRID = (37, 37)  # 518 x 518 pixels
REGISTERS = 4  # Darcet et al., 2024


@ENCODERS.register()
class DINOv2Encoder(PretrainedEncoder):
    """DINOv2's patch features at stride 14, of the last block or fused over several.

    Args:
        size: model size.
        registers: whether it is the network with four registers.
        fused: blocks whose features are fused as LHM and LAM do (a 1x1 convolution each, joined,
            and one more): `"default"` for their choice, block numbers from 0, or None for the
            last block's features as they are. The convolutions are trained also where the
            network is frozen.
        joined: blocks whose normalised features are joined along the channels, in this order of
            ascending numbers from 0, as GUAVA does with the last five; instead of `fused`.
        out_channels: C of fused features; None for the network's width.
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"`.
        image_size: longer side, or (height, width), of the network's input: 518 is native, LHM
            gives 448, LAM 504.
        background: what replaces the portrait's background.
        frozen: whether the network stays as released.
        dtype: arithmetic of the network.
        mean: of each input channel, in 0..1; LHM gives pictures without normalisation, so 0, 0, 0.
        std: of each input channel, in 0..1; for LHM 1, 1, 1.
        depth: only the first blocks, for tests and profiling; None for all.
    """

    def __init__(
        self,
        *,
        size: Literal["s", "b", "l", "g"] = "l",
        registers: bool = True,
        fused: Sequence[int] | Literal["default"] | None = None,
        joined: Sequence[int] | None = None,
        out_channels: int | None = None,
        weights: str = "official",
        image_size: int | Sequence[int] = 518,
        background: Background = "white",
        frozen: bool = True,
        dtype: Precision = "bfloat16",
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        depth: int | None = None,
    ) -> None:
        width, full_depth, _ = SIZES[check_choice("size", size, SIZES)]
        trunk, missing = load_trunk(
            lambda: build_dinov2(size, registers=registers, depth=depth),
            weights=weights,
            asset=f"dinov2_vit{size}14{'_reg' if registers else ''}",
            frozen=frozen,
            dtype=dtype,
            official_name=official_name,
            ignored=("mask_token",),  # of masked pretraining
        )
        super().__init__(
            trunk,
            missing,
            patch=14,
            image_size=image_size,
            mean=mean,
            std=std,
            background=background,
            frozen=frozen,
            dtype=dtype,
        )
        if joined is not None and fused is not None:
            raise ConfigError("`fused` and `joined` exclude each other")
        self.layers = _layers(fused if joined is None else joined, depth or full_depth)
        self.fusion: LayerFusion | None = None
        if fused is not None:
            self.fusion = LayerFusion(width, len(self.layers), out_channels or width)
        elif out_channels not in (None, width):
            raise ConfigError(
                f"out_channels={out_channels} needs `fused`: plain features are {width}"
            )
        self.out_channels = (out_channels or width) * (1 if joined is None else len(joined))

    def encode(self, images: Tensor) -> Tensor:
        """Returns the last, the fused or the joined features [B C h w]."""
        with self.running(images) as inputs:
            network: Any = self.trunk
            maps = network.maps(inputs, self.layers)
        return torch.cat(maps, 1) if self.fusion is None else self.fusion(maps)


class LayerFusion(nn.Module):
    """A 1x1 convolution for each of several layers, and one over all of them together.

    Source: the head feature pyramid of LHM (Qiu et al., 2025); names as in its checkpoints.

    Args:
        width: channels of a layer.
        layers: how many.
        out_channels: channels of the result.
    """

    def __init__(self, width: int, layers: int, out_channels: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(layers))
        self.output_conv = nn.Conv2d(layers * width, out_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Fuses features [B C h w] of each layer to [B C' h w]."""
        dtype = self.output_conv.weight.dtype
        projected = [project(m.to(dtype)) for project, m in zip(self.projects, maps)]
        return self.output_conv(torch.cat(projected, 1))


def build_dinov2(
    size: str, *, registers: bool = False, depth: int | None = None
) -> VisionTransformer:
    """Builds the network of a size, without weights.

    Args:
        size: "s", "b", "l" or "g".
        registers: with four registers; positions are then resized with antialiasing.
        depth: only the first blocks; None for all.
    """
    width, full_depth, heads = SIZES[size]
    return VisionTransformer(
        width,
        depth or full_depth,
        heads,
        patch=14,
        grid=NATIVE_GRID,
        registers=REGISTERS if registers else 0,
        mlp="swiglu" if size == "g" else "gelu",
        layer_scale=True,
        position_rule="bicubic_antialias" if registers else "bicubic_offset",
    )


def official_name(name: str) -> str:
    """Returns the released files' name of a weight of `VisionTransformer`.

    Example:
        >>> official_name("blocks.3.attention.out.weight")
        'blocks.3.attn.proj.weight'
    """
    return renamed(name, _RENAMES)


def _layers(fused: Sequence[int] | Literal["default"] | None, depth: int) -> tuple[int, ...]:
    if fused is None:
        return (depth - 1,)
    if fused == "default":
        if depth not in FUSED_LAYERS:
            raise ConfigError(f"depth={depth} has no default layers to fuse: name them in `fused`")
        return FUSED_LAYERS[depth]
    layers = tuple(int(number) for number in fused)
    if not layers or list(layers) != sorted({*layers} & {*range(depth)}):
        raise ConfigError(f"fused={list(layers)} should ascend within 0..{depth - 1}")
    return layers


_RENAMES = (
    (r"^class_token$", "cls_token"),
    (r"^registers$", "register_tokens"),
    (r"^position$", "pos_embed"),
    (r"^patch\.", "patch_embed.proj."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.scale([12])$", r".ls\1.gamma"),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
    (r"\.mlp\.gate_and_value\.", ".mlp.w12."),
    (r"\.mlp\.out\.", ".mlp.w3."),
)
