"""A deformable attention decoder whose queries keep their reference points (OSX's hands, face)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, POINTS, WIDTH = 8, 4, 256
STORED_LEVELS = 4  # rows of the released level embedding; three are used


class DeformableDecoder(nn.Module):
    """Keypoint queries attend each other, and a few points of each of three feature maps.

    After Zhu et al. (2021) with two changes of Lin et al. (2023): each head samples all channels
    and projects afterwards, and reference points stay where the heat maps put them.

    Args:
        queries: K keypoints.
        channels: channels of the feature maps, finest first.
        depth: layers.
    """

    def __init__(self, queries: int, channels: Sequence[int], *, depth: int = 6) -> None:
        super().__init__()
        self.neck = nn.ModuleList(NormedProjection(c) for c in channels)
        self.level = nn.Parameter(torch.zeros(STORED_LEVELS, WIDTH))
        self.query_position = nn.Parameter(torch.zeros(queries, WIDTH))
        self.layers = nn.ModuleList(DecoderLayer(len(channels)) for _ in range(depth))

    def forward(self, queries: Tensor, points: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Refines queries.

        Args:
            queries: [B K 256] features of the keypoints.
            points: [B K 2] where they are, x and y over the width and height of the maps.
            maps: [B C h w] each, finest first.

        Returns:
            [B K 256].
        """
        values = []
        for number, (project, features) in enumerate(zip(self.neck, maps, strict=True)):
            value = project(features)
            position = sine_positions(value.shape[-2], value.shape[-1], device=value.device)
            values.append(value + (position + self.level[number, :, None, None]))
        for layer in self.layers:
            queries = layer(queries, self.query_position, points, values)
        return queries


class NormedProjection(nn.Module):
    """A 1x1 convolution to the decoder's width and a group norm.

    Args:
        channels: channels in.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTH, 1, bias=False)
        self.gn = nn.GroupNorm(32, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [B C h w] to [B 256 h w]."""
        return self.gn(self.conv(x))


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention and an MLP, each normalised after its residual.

    Args:
        levels: feature maps.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.deformable = DeformableAttention(levels)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 1024), nn.ReLU(), nn.Linear(1024, WIDTH))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(
        self, queries: Tensor, position: Tensor, points: Tensor, values: Sequence[Tensor]
    ) -> Tensor:
        """Transforms queries [B K 256]; `position` [K 256] enters every attention's query."""
        x = queries
        placed = x + position
        x = self.norms[0](x + self.attention(placed, placed, x, need_weights=False)[0])
        x = self.norms[1](x + self.deformable(x + position, points, values))
        return self.norms[2](x + self.mlp(x))


class DeformableAttention(nn.Module):
    """Samples a few points a head and level, weighs them, and projects by a matrix a head.

    Args:
        levels: feature maps.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.offsets = nn.Linear(WIDTH, HEADS * levels * POINTS * 2)
        self.weights = nn.Linear(WIDTH, HEADS * levels * POINTS)
        self.value_weight = nn.Parameter(torch.zeros(HEADS * WIDTH, WIDTH // HEADS))
        self.value_bias = nn.Parameter(torch.zeros(HEADS, WIDTH // HEADS))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, queries: Tensor, points: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Attends from queries [B K 256] at points [B K 2] (0..1) to maps [B 256 h w]."""
        batch, count = queries.shape[:2]
        offsets = self.offsets(queries).view(batch, count, HEADS, self.levels, POINTS, 2)
        weights = self.weights(queries).view(batch, count, HEADS, self.levels * POINTS)
        weights = weights.softmax(-1).view(batch, count, HEADS, self.levels, POINTS)
        mixed = queries.new_zeros(batch, WIDTH, count, HEADS)
        for level, value in enumerate(values):
            size = value.new_tensor([value.shape[-1], value.shape[-2]])
            at = points[:, :, None, None] + offsets[:, :, :, level] / size  # [B K H P 2]
            sampled = F.grid_sample(value, at.flatten(2, 3) * 2 - 1, align_corners=False)
            sampled = sampled.unflatten(-1, (HEADS, POINTS))  # [B 256 K H P]
            mixed = mixed + (sampled * weights[:, None, :, :, level]).sum(-1)
        matrices = self.value_weight.view(HEADS, WIDTH, WIDTH // HEADS)
        heads = torch.einsum("bckh,hcd->bkhd", mixed, matrices) + self.value_bias
        return self.out(heads.flatten(2))


def sine_positions(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Returns sinusoids of cell centres [256 h w]: 128 of y, then 128 of x.

    Source: Carion et al. (2020), normalised to 0..2 pi, with cells counted from one half.

    Example:
        >>> sine_positions(2, 3).shape
        torch.Size([256, 2, 3])
    """
    each = WIDTH // 2
    index = torch.arange(each, device=device, dtype=torch.float32)
    wavelength = 10000 ** (2 * torch.div(index, 2, rounding_mode="floor") / each)

    def waves(count: int) -> Tensor:
        ordinal = torch.arange(1, count + 1, device=device, dtype=torch.float32)
        phase = (ordinal - 0.5) / (count + 1e-6) * (2 * math.pi)
        phases = phase[:, None] / wavelength  # [count 128]
        return torch.stack([phases[:, 0::2].sin(), phases[:, 1::2].cos()], -1).flatten(1)

    rows = waves(height).T[:, :, None].expand(-1, -1, width)
    columns = waves(width).T[:, None].expand(-1, height, -1)
    return torch.cat([rows, columns])
