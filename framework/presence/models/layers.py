"""Layers that encoders and decoders share: attention and convolution blocks, sinusoids, MLPs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention through torch's fused kernels.

    Args:
        width: channels of a token.
        heads: attention heads; must divide `width`.

    Attributes:
        attend: queries, keys and values [B heads T C/heads] to values.
    """

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attends among tokens [B T C]."""
        return self.out(self.mix(tokens))

    def mix(self, tokens: Tensor) -> Tensor:
        """Returns the attended values [B T C], before the output projection."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = self.attend(qkv[0], qkv[1], qkv[2])  # [B heads T C/heads]
        return mixed.transpose(1, 2).flatten(2)


class AlignedLinear(nn.Linear):
    """A linear layer for any number of inputs, filled up with zeros to a multiple of 8.

    Tensor cores read rows of 16 bytes, and products of other widths fall to slower kernels. Weights
    are those of `nn.Linear`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [... C]."""
        missing = -self.in_features % 8
        if not missing:
            return super().forward(x)
        return F.linear(F.pad(x, (0, missing)), F.pad(self.weight, (0, missing)), self.bias)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP with learned residual scales.

    Args:
        width: channels of a token.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over `width`.
        residual_scale: initial value of the learned residual scales.
    """

    def __init__(
        self, width: int, heads: int, *, mlp_ratio: float = 3.0, residual_scale: float = 1.0
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.scale1 = nn.Parameter(torch.full((width,), residual_scale))
        self.scale2 = nn.Parameter(torch.full((width,), residual_scale))

    def forward(self, tokens: Tensor) -> Tensor:
        """Transforms tokens [B T C]."""
        tokens = tokens + self.scale1 * self.attention(self.norm1(tokens))
        return tokens + self.scale2 * self.mlp(self.norm2(tokens))


class ConvBlock(nn.Module):
    """A residual block of convolutions: 7x7 depthwise convolution, then a pointwise MLP.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transforms maps [B C h w]."""
        return x + self.mlp(self.norm(self.depthwise(x)))


def sinusoids(values: Tensor, frequencies: int) -> Tensor:
    """Encodes values [... D] as sines and cosines at octaves pi * 2^k, to [... 2 D L].

    Source: paper A.1 (L-frequency sinusoidal encoding).

    Example:
        >>> sinusoids(torch.zeros(1, 2), 3).shape
        torch.Size([1, 12])
    """
    octaves = torch.pi * 2.0 ** torch.arange(frequencies, device=values.device)
    phases = (values[..., None] * octaves).flatten(-2)
    return torch.cat([phases.sin(), phases.cos()], -1)


def two_layer_mlp(inputs: int, hidden: int, outputs: int, *, init_scale: float = 1.0) -> nn.Module:
    """Returns Linear, SiLU, Linear (paper A.1), the last layer's weights scaled and unbiased."""
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        last.weight.mul_(init_scale)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), last)
