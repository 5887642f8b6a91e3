"""Sapiens' pose network (Khirodkar et al., 2024): 308 heat maps of one person in a crop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly, renamed

HEIGHT, WIDTH = 1024, 768  # px of the input
CELLS = (256, 192)  # rows and columns of a heat map
KEYPOINTS = 308
SIZES = {
    "0.3b": (1024, 24, 16),
    "0.6b": (1280, 32, 16),
    "1b": (1536, 40, 24),
    "2b": (1920, 48, 32),
}


class SapiensPose(nn.Module):
    """A plain vision transformer and a small head of two up-convolutions.

    Args:
        size: model size.
        depth: blocks, for tests; None for all.
    """

    def __init__(self, size: str = "1b", *, depth: int | None = None) -> None:
        super().__init__()
        width, blocks, heads = SIZES[size]
        self.backbone = VisionTransformer(
            width, depth or blocks, heads, patch_padding=2, grid=(64, 48), class_token=False
        )
        self.up = nn.Sequential(*_up(width, 768), *_up(768, 768))
        self.mix = nn.Sequential(*_mix(768), *_mix(768))
        self.last = nn.Conv2d(768, KEYPOINTS, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns heat maps [B 308 256 192] of normalised crops [B 3 1024 768]."""
        return self.head(self.backbone(images))

    def head(self, features: Tensor) -> Tensor:
        """Returns heat maps [B 308 4h 4w] of features [B C h w]."""
        return self.last(self.mix(self.up(features)))


def load_sapiens_pose(
    tensors: dict[str, Tensor], source: str, *, size: str = "1b", depth: int | None = None
) -> SapiensPose:
    """Builds the network from a released file's tensors.

    Raises:
        AssetError: names or shapes differ.
    """
    with torch.device("meta"):
        network = SapiensPose(size, depth=depth)
    fill_strictly(network, tensors, source=source, official_name=official_name)
    return network.eval()


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `SapiensPose`.

    Example:
        >>> official_name("last.bias")
        'head.final_layer.bias'
    """
    return renamed(name, _RENAMES)


def _up(inputs: int, outputs: int) -> list[nn.Module]:
    up = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [up, nn.InstanceNorm2d(outputs), nn.SiLU()]


def _mix(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 1), nn.InstanceNorm2d(width), nn.SiLU()]


_RENAMES = (
    (r"^up\.", "head.deconv_layers."),
    (r"^mix\.", "head.conv_layers."),
    (r"^last\.", "head.final_layer."),
    (r"^backbone\.position$", "backbone.pos_embed"),
    (r"^backbone\.patch\.", "backbone.patch_embed.projection."),
    (r"^backbone\.norm\.", "backbone.ln1."),
    (r"^backbone\.blocks\.", "backbone.layers."),
    (r"\.norm([12])\.", r".ln\1."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".ffn.layers.0.0."),
    (r"\.mlp\.2\.", ".ffn.layers.1."),
)
