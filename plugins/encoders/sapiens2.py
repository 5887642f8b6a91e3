"""Sapiens2 (Khirodkar et al., ICLR 2026): timm's network, filled from the released files."""

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
from presence.models.weight_files import renamed, strip_prefix
from presence.registry import ENCODERS

# Model size to (timm's name, width, depth, heads).
SIZES = {
    "0.1b": ("vit_base_patch16_sapiens2", 768, 12, 12),
    "0.4b": ("vit_large_patch16_sapiens2", 1024, 24, 16),
    "0.8b": ("vit_huge_patch16_sapiens2", 1280, 32, 16),
    "1b": ("vit_giant_patch16_sapiens2", 1536, 40, 24),
    "5b": ("vit_5b_patch16_sapiens2", 2432, 56, 32),
}
MEAN = (0.485, 0.456, 0.406)  # ImageNet's
STD = (0.229, 0.224, 0.225)


@ENCODERS.register()
class Sapiens2Encoder(PretrainedEncoder):
    """Sapiens2's pretrained encoder: rotary positions, features at stride 16.

    Its licence excludes some uses of the weights (biometric processing, surveillance and deepfakes
    among them): read it first. The network is timm's own implementation, with float32 rotary
    tables; the 4K variant is not supported. Any input size works without interpolation.

    Args:
        size: model size.
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"`.
        image_size: longer side, or (height, width), of the network's input.
        background: what replaces the portrait's background.
        frozen: whether the network stays as released.
        dtype: arithmetic of the network.
        depth: only the first blocks, for tests and profiling; None for all.
    """

    def __init__(
        self,
        *,
        size: Literal["0.1b", "0.4b", "0.8b", "1b", "5b"] = "1b",
        weights: str = "official",
        image_size: int | Sequence[int] = 1024,
        background: Background = "white",
        frozen: bool = True,
        dtype: Precision = "bfloat16",
        depth: int | None = None,
    ) -> None:
        check_choice("size", size, SIZES)
        trunk, missing = load_trunk(
            lambda: build_sapiens2(size, depth),
            weights=weights,
            asset=f"sapiens2_{size}",
            frozen=frozen,
            dtype=dtype,
            official_name=official_name,
            ignored=IGNORED,
            select=lambda tensors: strip_prefix(tensors, "backbone."),
            finish=_compute_rotary_tables,
        )
        super().__init__(
            trunk,
            missing,
            patch=16,
            image_size=image_size,
            mean=MEAN,
            std=STD,
            background=background,
            frozen=frozen,
            dtype=dtype,
        )
        self.out_channels = SIZES[size][1]

    def encode(self, images: Tensor) -> Tensor:
        """Returns the final block's normalised features [B C h w]."""
        grid = (images.shape[-2] // self.patch, images.shape[-1] // self.patch)
        with self.running(images) as inputs:
            network: Any = self.trunk
            tokens = network.forward_features(inputs)  # [B prefix+T C]
        patches = tokens[:, network.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(-1, grid)


def official_name(name: str) -> str:
    """Returns the released files' name of a weight of timm's network.

    Example:
        >>> official_name("blocks.3.attn.q_proj.weight")
        'blocks.3.attn.wq.weight'
    """
    return renamed(name, _RENAMES)


def build_sapiens2(size: str, depth: int | None = None) -> nn.Module:
    """Builds timm's network of a size, without weights.

    Args:
        size: "0.1b" to "5b".
        depth: only the first blocks; None for all.

    Raises:
        ConfigError: timm is missing or too old.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError("Sapiens2Encoder needs the package timm: pip install timm") from error
    name, _, full_depth, heads = SIZES[size]
    if name not in timm.list_models("*sapiens2*"):
        raise ConfigError(f"Sapiens2Encoder needs timm 1.0.31 or later, here is {timm.__version__}")
    options: dict[str, Any] = {}
    if depth is not None:
        # Queries are grouped in pairs, except in the first and the last eight blocks.
        grouped = range(8, full_depth - 8)
        options["depth"] = depth
        options["num_kv_heads"] = tuple(heads // (1 + (i in grouped)) for i in range(depth))
    return timm.create_model(name, pretrained=False, num_classes=0, **options)


def _compute_rotary_tables(trunk: nn.Module) -> None:
    """Fills the buffers of a network built on the meta device, which no file holds."""
    trunk.to_empty(device=torch.device("cpu"))
    for part in trunk.modules():
        compute = getattr(part, "init_non_persistent_buffers", None)
        if callable(compute):
            compute()


# A pretraining token, fixed rotary tables, and the heads of fine-tuned networks.
IGNORED = (r"mask_token", r".*rope.*", r"(head|decode_head|data_preprocessor)\..*")

_RENAMES = (
    (r"^reg_token$", "storage_tokens"),
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^norm\.", "ln1."),
    (r"\.norm([12])\.", r".ln\1."),
    (r"\.attn\.([qkv])_proj\.", r".attn.w\1."),
    (r"\.gamma_1$", ".attn.gamma.weight"),
    (r"\.mlp\.fc1\.", ".ffn.w12."),
    (r"\.mlp\.fc2\.", ".ffn.w3."),
)
