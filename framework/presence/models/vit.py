"""The plain vision transformer behind DINOv2, Sapiens and most human-centric estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.models.layers import SelfAttention

EPS = 1e-6  # of every LayerNorm, as in ViT's released code; torch's default is 1e-5

PositionRule = Literal["bicubic", "bicubic_antialias", "bicubic_offset"]


class VisionTransformer(nn.Module):
    """Patches, learned positions, pre-norm blocks and a final norm (Dosovitskiy et al., 2021).

    The token order is class token, registers (Darcet et al., 2024), patches row by row. The
    class token has a position, registers have none.

    Args:
        width: channels of a token.
        depth: blocks.
        heads: attention heads.
        patch: side of a patch in pixels.
        patch_padding: zero padding of the patch convolution in pixels.
        grid: rows and columns of the learned positions.
        class_token: whether there is one.
        registers: register tokens.
        mlp: `"gelu"` with 4 times the width, or `"swiglu"` with about 8/3 of it.
        layer_scale: learned residual scales (Touvron et al., 2021).
        position_rule: how positions reach other grids; see `resize_positions`.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        patch: int = 16,
        patch_padding: int = 0,
        grid: tuple[int, int] = (64, 64),
        class_token: bool = True,
        registers: int = 0,
        mlp: Literal["gelu", "swiglu"] = "gelu",
        layer_scale: bool = False,
        position_rule: PositionRule = "bicubic",
    ) -> None:
        super().__init__()
        self.width, self.patch_side, self.grid = width, patch, grid
        self.position_rule = position_rule
        self.prefix = int(class_token) + registers  # tokens before the patches
        self.patch = nn.Conv2d(3, width, patch, stride=patch, padding=patch_padding)
        positions = grid[0] * grid[1] + int(class_token)
        self.class_token = _token(1, width) if class_token else None
        self.registers = _token(registers, width) if registers else None
        self.position = _token(positions, width)
        self.blocks = nn.ModuleList(
            ViTBlock(width, heads, mlp=mlp, layer_scale=layer_scale) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Encodes normalised images [B 3 H W] to final-norm patch features [B C h w]."""
        return self.maps(images, [len(self.blocks) - 1])[0]

    def maps(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Returns patch features [B C h w] after each of some blocks, the final norm applied.

        Args:
            images: [B 3 H W].
            layers: block numbers from 0, ascending; blocks after the last are not run.
        """
        grid = self.grid_of(images)
        tokens = self.tokens(images, layers)
        return [self.to_map(self.norm(t), grid) for t in tokens]

    def tokens(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Returns the tokens [B T C] after each of some blocks, before the final norm.

        Raises:
            ValueError: no layers, not ascending, or beyond the last block.
        """
        depth = len(self.blocks)
        if not layers or list(layers) != sorted({*layers} & {*range(depth)}):
            raise ValueError(f"layers={list(layers)} should ascend within 0..{depth - 1}")
        x, kept = self.embed(images), []
        for number in range(layers[-1] + 1):
            x = self.blocks[number](x)
            if number in layers:
                kept.append(x)
        return kept

    def embed(self, images: Tensor) -> Tensor:
        """Returns the tokens [B T C] that enter the first block."""
        x, grid = self._patches(images)
        first = int(self.class_token is not None)
        position = resize_positions(self.position, self.grid, grid, first, self.position_rule)
        position = position.to(x.dtype)
        x = x + position[:, first:]
        prefix = []
        if self.class_token is not None:
            prefix.append((self.class_token + position[:, :1]).expand(len(x), -1, -1))
        if self.registers is not None:
            prefix.append(self.registers.expand(len(x), -1, -1))
        return torch.cat([*(p.to(x.dtype) for p in prefix), x], 1) if prefix else x

    def _patches(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Returns a token [B h*w C] for each patch, and rows and columns of patches.

        Patches do not overlap, so their convolution is a matrix product, which is faster.
        """
        side = self.patch_side
        if any(self.patch.padding) or any(length % side for length in images.shape[-2:]):
            maps = self.patch(images)
            return maps.flatten(2).transpose(1, 2), (maps.shape[-2], maps.shape[-1])
        rows, columns = (length // side for length in images.shape[-2:])
        split = images.unflatten(-1, (columns, side)).unflatten(-3, (rows, side))
        pixels = split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # [B h*w 3*side^2]
        return F.linear(pixels, self.patch.weight.flatten(1), self.patch.bias), (rows, columns)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Returns rows and columns of patches in images [B 3 H W]."""
        pad = 2 * int(self.patch.padding[0])
        height, width = ((int(s) + pad) // self.patch_side for s in images.shape[-2:])
        return height, width

    def to_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Drops the tokens before the patches and lays [B T C] out as [B C h w]."""
        return tokens[:, self.prefix :].transpose(1, 2).unflatten(-1, grid)


class ViTBlock(nn.Module):
    """Pre-norm attention and MLP, with or without residual scales.

    Args:
        width: channels of a token.
        heads: attention heads.
        mlp: `"gelu"` or `"swiglu"`.
        layer_scale: learned residual scales.
        eps: of the norms.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp: Literal["gelu", "swiglu"],
        layer_scale: bool,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attention = SelfAttention(width, heads)
        self.mlp: nn.Module
        if mlp == "swiglu":
            self.mlp = SwiGLU(width, (int(4 * width * 2 / 3) + 7) // 8 * 8)
        else:
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
        self.scale1 = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.scale2 = nn.Parameter(torch.ones(width)) if layer_scale else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Transforms tokens [B T C]."""
        change = self.attention(self.norm1(tokens))
        tokens = tokens + (change if self.scale1 is None else change * self.scale1)
        change = self.mlp(self.norm2(tokens))
        return tokens + (change if self.scale2 is None else change * self.scale2)


class SwiGLU(nn.Module):
    """The gated MLP of Shazeer (2020), both input projections in one matrix.

    Args:
        width: channels in and out.
        hidden: channels between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_and_value = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [... C]."""
        gate, value = self.gate_and_value(x).chunk(2, -1)
        return self.out(F.silu(gate) * value)


def resize_positions(
    positions: Tensor, old: tuple[int, int], new: tuple[int, int], first: int, rule: PositionRule
) -> Tensor:
    """Interpolates learned positions to another grid of patches, in float32.

    Args:
        positions: [1 first+N C], N = old[0] * old[1], row by row.
        old: rows and columns they were learned on.
        new: rows and columns wanted.
        first: positions of tokens before the patches, kept as they are.
        rule: `"bicubic"` (Sapiens); `"bicubic_antialias"` (DINOv2 with registers); or
            `"bicubic_offset"`, whose scale is (new + 0.1) / old (DINOv2 without registers: the
            offset once guarded against rounding, and the released networks were run with it).

    Example:
        >>> resize_positions(torch.zeros(1, 17, 8), (4, 4), (6, 3), 1, "bicubic").shape
        torch.Size([1, 19, 8])
    """
    if old == new:
        return positions
    maps = positions[:, first:].float().transpose(1, 2).unflatten(-1, old)  # [1 C h w]
    if rule == "bicubic_offset":
        scale = ((new[0] + 0.1) / old[0], (new[1] + 0.1) / old[1])
        maps = F.interpolate(maps, scale_factor=scale, mode="bicubic")
    else:
        maps = F.interpolate(maps, size=new, mode="bicubic", antialias=rule != "bicubic")
    return torch.cat([positions[:, :first].float(), maps.flatten(2).transpose(1, 2)], 1)


def _token(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, width), std=0.02))
