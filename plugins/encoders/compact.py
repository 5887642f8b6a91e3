"""The compact encoder: a few million parameters, trained with the decoder, no pretraining."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.interfaces import Encoder
from presence.models.layers import ConvBlock, TransformerBlock, sinusoids
from presence.registry import ENCODERS
from presence.structures import ImageFeatures, Portrait


@ENCODERS.register()
class CompactEncoder(Encoder):
    """Convolutions to stride 8, attention at stride 16, fused back at stride 8.

    The person is cut out by alpha over grey, and alpha is the fourth input channel, so the
    background never reaches the features.

    Args:
        widths: channels at strides 4, 8 and 16.
        conv_blocks: residual blocks at strides 4 and 8.
        attention_blocks: transformer blocks at stride 16.
        heads: attention heads.
        out_channels: C of the result, a grid at stride 8.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (96, 192, 384),
        conv_blocks: tuple[int, int] = (2, 3),
        attention_blocks: int = 2,
        heads: int = 6,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        fine, middle, coarse = widths
        self.stem = nn.Conv2d(4, fine, 4, stride=4)
        self.fine = nn.Sequential(*(ConvBlock(fine) for _ in range(conv_blocks[0])))
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = nn.Sequential(*(ConvBlock(middle) for _ in range(conv_blocks[1])))
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.position = nn.Linear(4 * _FREQUENCIES, coarse)
        self.coarse = nn.Sequential(
            *(TransformerBlock(coarse, heads) for _ in range(attention_blocks))
        )
        self.norm = nn.LayerNorm(coarse)
        self.fuse = nn.Conv2d(middle + coarse, out_channels, 1)

    def forward(self, portrait: Portrait) -> ImageFeatures:
        """Encodes portraits [B 3 H W]; H and W should be multiples of 16 (else resized)."""
        x = self._cut_out(portrait)
        fine = self.fine(self.stem(x))
        middle = self.middle(self.to_middle(fine))
        coarse = self._attend(self.to_coarse(middle))
        coarse = F.interpolate(coarse, size=middle.shape[-2:], mode="bilinear")
        return ImageFeatures(self.fuse(torch.cat([middle, coarse], 1)))

    def _cut_out(self, portrait: Portrait) -> Tensor:
        rgb, alpha = portrait.rgb, portrait.alpha
        x = torch.cat([(rgb - 0.5) * 2 * alpha, alpha], 1)
        height, width = (max(16, round(side / 16) * 16) for side in portrait.size)
        if (height, width) != portrait.size:
            x = F.interpolate(x, size=(height, width), mode="bilinear", antialias=True)
        return x

    def _attend(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        rows = torch.linspace(-1, 1, height, device=maps.device)
        columns = torch.linspace(-1, 1, width, device=maps.device)
        where = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
        tokens = maps.flatten(2).transpose(1, 2) + self.position(sinusoids(where, _FREQUENCIES))
        tokens = self.norm(self.coarse(tokens))
        return tokens.transpose(1, 2).unflatten(-1, (height, width))


_FREQUENCIES = 6  # octaves of the stride-16 position code; 2^6 resolves a 64-cell side
