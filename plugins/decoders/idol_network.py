"""IDOL's network (Zhuang et al., CVPR 2025): UV tokens among image tokens, then convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.models.vit import ViTBlock
from presence.models.weight_files import renamed

EPS = 1e-5  # of IDOL's LayerNorms
CODE = 16  # channels of the UV code for geometry, and again for texture


def hidden_states(blocks: int, layers: int) -> list[int]:
    """Returns which hidden state of an encoder enters each block, from deep to shallow.

    State 0 is the embedding and state k the output of layer k; the last output is not used.

    Args:
        blocks: of the neck, at least 2.
        layers: of the encoder.

    Example:
        >>> hidden_states(16, 40)
        [39, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0]
    """
    step = layers // (blocks - 1)
    taps = [step * number for number in range(blocks)]
    taps[-1] = layers - 1
    return taps[::-1]


class UVNeck(nn.Module):
    """Self-attention among image tokens and learned UV tokens; each block gets its own layer.

    Image tokens start at zero. Before block i they receive a linear projection of the i-th
    map, from the encoder's deep layers to its shallow ones, on top of what they carry.

    Args:
        image_width: channels of a map.
        grid: side of the grid of UV tokens.
        width: channels of a token.
        blocks: transformer blocks.
        heads: attention heads.
    """

    def __init__(self, image_width: int, *, grid: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.grid = grid
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(sincos_positions(grid, width)[None])
        self.inject = nn.ModuleList(nn.Linear(image_width, width) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            ViTBlock(width, heads, mlp="gelu", layer_scale=False, eps=EPS) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width, EPS)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Returns UV tokens [B grid^2 width] for one map of tokens [B T C] a block."""
        return self.norm(self.states(layers)[-1])[:, layers[0].shape[1] :]

    def states(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Returns all tokens [B T+grid^2 width] after each block: the image's, then UV's."""
        batch, count = layers[0].shape[:2]
        uv = (self.token + self.position).expand(batch, -1, -1)
        x = torch.cat([uv.new_zeros(batch, count, uv.shape[-1]), uv], 1)
        states = []
        for block, inject, layer in zip(self.blocks, self.inject, layers, strict=True):
            x = torch.cat([x[:, :count] + inject(layer), x[:, count:]], 1)
            x = block(x)
            states.append(x)
        return states


class ConvUpsampler(nn.Module):
    """Doubling transposed convolutions, then convolutions, to the UV code.

    Args:
        width: channels of a token.
        deconvolutions: channels of each doubling stage.
        convolutions: channels of each following 3x3 convolution.
    """

    def __init__(
        self, width: int, deconvolutions: Sequence[int], convolutions: Sequence[int]
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for channels in deconvolutions:
            up = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False)
            stages += [up, nn.InstanceNorm2d(channels), nn.SiLU()]
            width = channels
        self.deconvolutions = nn.Sequential(*stages)
        stages = []
        for channels in convolutions:
            stages += [nn.Conv2d(width, channels, 3, padding=1), nn.InstanceNorm2d(channels)]
            stages.append(nn.SiLU())
            width = channels
        self.convolutions = nn.Sequential(*stages)
        self.to_code = nn.Conv2d(width, 2 * CODE, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turns token maps [B width g g] into codes [B 32 G G], before their tanh."""
        return self.to_code(self.convolutions(self.deconvolutions(tokens)))


class CodeHeads(nn.Module):
    """Convolution heads on the UV code: opacity and offset from geometry, the rest from texture.

    Args:
        geometry: hidden channels of the geometry branch.
        texture: hidden channels of the texture branch.
        opacity: whether there is an opacity head; the released model computes one and then
            draws every Gaussian opaque.
    """

    def __init__(self, geometry: int, texture: int, *, opacity: bool) -> None:
        super().__init__()
        self.geometry = nn.Conv2d(CODE, geometry, 3, padding=1)
        self.geometry_norm = nn.BatchNorm2d(geometry)
        self.opacity = nn.Conv2d(geometry, 1, 1) if opacity else None
        self.offset = nn.Conv2d(geometry, 3, 1)
        self.texture = nn.Sequential(
            nn.Conv2d(CODE, texture, 3, padding=1),
            nn.BatchNorm2d(texture),
            nn.SiLU(),
            nn.Conv2d(texture, 9, 1),
        )
        with torch.no_grad():  # Gaussians start on the surface
            self.offset.weight.mul_(1e-5)
            self.offset.bias.zero_()  # type: ignore[union-attr]

    def forward(self, code: Tensor) -> Tensor:
        """Returns maps [B 13 G G]: opacity, offset 3, rgb 3, radius 3, rotation 3."""
        geometry = F.silu(self.geometry_norm(self.geometry(code[:, :CODE])))
        offset = self.offset(geometry)
        opacity = torch.ones_like(offset[:, :1])
        if self.opacity is not None:
            opacity = torch.sigmoid(self.opacity(geometry))
        return torch.cat([opacity, offset, torch.sigmoid(self.texture(code[:, CODE:]))], 1)


class IDOLNetwork(nn.Module):
    """Neck, upsampler and heads: maps of an image encoder to attribute maps over UV space.

    Args:
        neck: makes UV tokens.
        upsampler: turns them into a code.
        heads: read attributes off it.
    """

    def __init__(self, neck: UVNeck, upsampler: ConvUpsampler, heads: CodeHeads) -> None:
        super().__init__()
        self.neck, self.upsampler, self.heads = neck, upsampler, heads

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Turns one map of tokens [B T C] a block into attribute maps [B 13 G G]."""
        uv = self.neck(layers)
        grid = (self.neck.grid, self.neck.grid)
        code = torch.tanh(self.upsampler(uv.transpose(1, 2).unflatten(-1, grid)))
        return self.heads(code)


def sincos_positions(grid: int, width: int) -> Tensor:
    """Returns the initial positions [grid^2 width] of UV tokens: x in the first half, then y."""
    octave = torch.arange(width // 4, dtype=torch.float64) / (width // 4)
    frequency = 10000.0**-octave
    phase = torch.arange(grid, dtype=torch.float64)[:, None] * frequency  # [grid width/4]
    code = torch.cat([phase.sin(), phase.cos()], -1)  # [grid width/2]
    x = code[None].expand(grid, -1, -1)
    y = code[:, None].expand(-1, grid, -1)
    return torch.cat([x, y], -1).flatten(0, 1).float()


def spacing_of(points: Tensor, neighbours: Tensor) -> Tensor:
    """Returns the root mean squared distance [... N] of points [... N 3] to their neighbours.

    Args:
        points: [... N 3] metres.
        neighbours: [N K] indices.
    """
    squared = (points[..., neighbours, :] - points[..., None, :]).square().sum(-1)
    return squared.mean(-1).clamp_min(1e-7).sqrt()


def nearest_neighbours(points: Tensor, count: int = 3) -> Tensor:
    """Returns the indices [N count] of the points nearest to each of [N 3], itself excepted."""
    from scipy.spatial import cKDTree

    array = points.detach().cpu().double().numpy()
    _, index = cKDTree(array).query(array, k=count + 1)
    return torch.as_tensor(index[:, 1:], dtype=torch.long)


def activate(samples: Tensor) -> dict[str, Tensor]:
    """Scales sampled attributes [B N 13] to what they mean.

    Returns:
        opacity [B N 1], offset [B N 3] (m), rgb [B N 3], radius [B N 3] in -1..1 and
        rotation [B N 3] (axis-angle, rad).
    """
    opacity, offset, rgb, radius, rotation = samples.split([1, 3, 3, 3, 3], -1)
    return dict(
        opacity=opacity,
        offset=offset,
        rgb=rgb * 1.002 - 0.001,
        radius=(radius - 0.5) * 2,
        rotation=(rotation - 0.5) * math.pi,
    )


def sample_uv(maps: Tensor, uv: Tensor) -> Tensor:
    """Reads maps [B C G G] bilinearly at texture coordinates [N 2] in 0..1, to [B N C]."""
    where = (uv * 2 - 1)[None, :, None].expand(len(maps), -1, -1, -1)
    sampled = F.grid_sample(maps, where, padding_mode="border", align_corners=False)
    return sampled[..., 0].transpose(1, 2)


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `IDOLNetwork`.

    Example:
        >>> official_name("neck.blocks.3.attention.out.weight")
        'neck.decoder_blocks_depart.3.attn.proj.weight'
    """
    return renamed(name, _RENAMES)


# The frozen encoder, metrics, skinning and the sampling grid; and two heads that the released
# model stores without using them (the opacity is replaced by ones).
IGNORED = (
    r"(encoder|lpips|ssim|decoder\.deformer)\..*",
    r"decoder\.select_coord",
    r"neck\.decoder_pred\..*",
    r"decoder\.density_net\..*",
)
_RENAMES = (
    (r"^neck\.token$", "neck.mask_token"),
    (r"^neck\.position$", "neck.decoder_pos_embed"),
    (r"^neck\.inject\.", "neck.decoder_embed."),
    (r"^neck\.norm\.", "neck.decoder_norm."),
    (r"^neck\.blocks\.", "neck.decoder_blocks_depart."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
    (r"^upsampler\.deconvolutions\.", "decoder.upsample_conv.deconv_layers."),
    (r"^upsampler\.convolutions\.", "decoder.upsample_conv.conv_layers."),
    (r"^upsampler\.to_code\.", "decoder.upsample_conv.cls_seg."),
    (r"^heads\.geometry\.", "decoder.base_net.0."),
    (r"^heads\.geometry_norm\.", "decoder.base_bn."),
    (r"^heads\.opacity\.", "decoder.density_net.0."),
    (r"^heads\.offset\.", "decoder.offset_net.0."),
    (r"^heads\.texture\.", "decoder.color_net."),
)
