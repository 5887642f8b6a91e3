"""What decoders that ask about surface points share: point embedding and attribute heads."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from presence.models.layers import sinusoids
from presence.models.weight_files import renamed
from presence.structures import ImageFeatures

FREQUENCIES = 8  # octaves of a coordinate's code in LHM and LAM
MIN_SCALE = 1e-7  # metres; an exponential may underflow, and a Gaussian needs an extent


class PointEmbedding(nn.Module):
    """Positions to tokens: sines and cosines of 8 octaves beside the position itself.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 2 * FREQUENCIES + 3, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, points: Tensor) -> Tensor:
        """Embeds points [B N 3], metres, to [B N C]."""
        return self.norm(self.linear(torch.cat([sinusoids(points, FREQUENCIES), points], -1)))


class QueryHeads(nn.Module):
    """A shared three-layer MLP, then one linear layer for each Gaussian attribute.

    All but the colour start from their bias alone: no offset, no turn, 6.7 mm, opacity 0.1.

    Args:
        width: channels of a token.
        hidden: hidden channels of the MLP.
    """

    BIASES: ClassVar[dict[str, tuple[float, ...]]] = {
        "color": (),
        "scale": (-5.0, -5.0, -5.0),
        "offset": (0.0, 0.0, 0.0),
        "opacity": (math.log(0.1 / 0.9),),
        "rotation": (1.0, 0.0, 0.0, 0.0),
    }

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width),
        )
        self.out = nn.ModuleDict()
        for name, bias in self.BIASES.items():
            linear = nn.Linear(width, len(bias) or 3)
            if bias:
                nn.init.zeros_(linear.weight)
                with torch.no_grad():
                    linear.bias.copy_(torch.tensor(bias))
            self.out[name] = linear

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Maps tokens [B N C] to raw attributes [B N ...] in float32."""
        hidden = self.mlp(tokens)
        return {name: linear(hidden).float() for name, linear in self.out.items()}


def activate_scale(raw: Tensor, limit: float) -> Tensor:
    """Returns exp(raw) metres, at most `limit`; overflow would spoil the gradient with 0 * inf."""
    return raw.clamp(max=20.0).exp().clamp(MIN_SCALE, limit)


def tokens_of(features: ImageFeatures) -> Tensor:
    """Lays features [B C h w] out as tokens [B h*w C], row by row."""
    return features.grid.flatten(2).transpose(1, 2)


def official_query_name(name: str) -> str:
    """Returns LHM's and LAM's name of a weight of their embedding, transformer or heads.

    Example:
        >>> official_query_name("transformer.layers.0.attention.context_norm_k.weight")
        'transformer.layers.0.attn.norm_added_k.weight'
    """
    return renamed(name, _RENAMES)


_RENAMES = (
    (r"^points\.linear\.", "pcl_embed.mlp."),
    (r"^points\.norm\.", "pcl_embed.norm."),
    (r"^transformer\.context_in\.", "transformer.linear_cond_proj."),
    (r"\.modulation\.", ".norm1.linear."),
    (r"\.context_modulation\.", ".norm1_context.linear."),
    (r"(\.layers\.\d+)\.norm\.", r"\1.norm1."),
    (r"\.context_norm\.", ".norm1_context."),
    (r"\.attention\.context_norm_([qk])\.", r".attn.norm_added_\1."),
    (r"\.attention\.context_([qkv])\.", r".attn.add_\1_proj."),
    (r"\.attention\.context_out\.", ".attn.to_add_out."),
    (r"\.attention\.out\.", ".attn.to_out.0."),
    (r"\.attention\.([qkv])\.", r".attn.to_\1."),
    (r"\.attention\.", ".attn."),
    (r"(\.layers\..*)\.mlp\.0\.", r"\1.ff.net.0.proj."),
    (r"(\.layers\..*)\.mlp\.2\.", r"\1.ff.net.2."),
    (r"(\.layers\..*)\.context_mlp\.0\.", r"\1.ff_context.net.0.proj."),
    (r"(\.layers\..*)\.context_mlp\.2\.", r"\1.ff_context.net.2."),
    (r"^heads\.mlp\.", "renderer.mlp_net.layers."),
    (r"^heads\.out\.color\.", "renderer.gs_net.out_layers.shs."),
    (r"^heads\.out\.scale\.", "renderer.gs_net.out_layers.scaling."),
    (r"^heads\.out\.offset\.", "renderer.gs_net.out_layers.xyz."),
    (r"^heads\.out\.", "renderer.gs_net.out_layers."),
)
