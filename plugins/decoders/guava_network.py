"""GUAVA's networks (Zhang et al., ICCV 2025) apart from the StyleUNets: image maps and heads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence_plugins.decoders.styleunet import RENAMES as STYLEUNET_RENAMES

SLOPE = 0.01  # of LeakyReLU in heads and mappings; the StyleUNets have 0.2
DIRECTION = 27  # channels of the coded view direction
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class ImagePyramid(nn.Module):
    """Five maps of an image encoder and the picture to two feature maps at picture size.

    Fuses as DPT does (Ranftl et al., 2021), with the picture's colours joined at every level.

    Args:
        image_width: channels of an encoder map.
        levels: channels of the four levels, fine to coarse.
        uv_channels: channels of the map for the UV branch; the fusion is twice as wide.
        vertex_channels: channels of the map for the template branch.
        size: side of both maps.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_width: int,
        levels: Sequence[int],
        *,
        uv_channels: int,
        vertex_channels: int,
        size: int,
    ) -> None:
        super().__init__()
        self.size = size
        width = 2 * uv_channels
        self.project = nn.ModuleList(nn.Conv2d(image_width, level, 1) for level in levels)
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(levels[0], levels[0], 4, stride=4),
                nn.ConvTranspose2d(levels[1], levels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(levels[3], levels[3], 3, stride=2, padding=1),
            ]
        )
        self.level = nn.ModuleList(_conv(level + 3, width) for level in levels)
        self.fuse = nn.ModuleList(FusionStage(width, joins=number > 0) for number in range(4))
        self.low = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            _conv(image_width, width),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True),
            _conv(width, uv_channels),
        )
        self.detail = nn.Sequential(
            _conv(width + uv_channels + 3, width), nn.LeakyReLU(SLOPE), _conv(width, width)
        )
        self.skip = _conv(width + 3, width)
        self.to_uv = nn.Conv2d(width, uv_channels, 3, padding=1)
        self.to_vertex = nn.Conv2d(width, vertex_channels, 3, padding=1)
        for name, values in (("mean", _MEAN), ("std", _STD)):
            value = torch.tensor(values).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, maps: Sequence[Tensor], rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the maps of the UV branch and the template branch [B C size size].

        Args:
            maps: five maps [B C h w] of the encoder, the first the one for fine detail.
            rgb: [B 3 H W] in 0..1.
        """
        rgb = (rgb - self.mean) / self.std
        size = (self.size, self.size)
        coarse = F.interpolate(self.fused(self.levels(maps, rgb))[-1], size, mode="bilinear")
        colour = F.interpolate(rgb, size, mode="bilinear")
        low = F.interpolate(self.low(maps[0]), size, mode="bilinear")
        x = self.detail(torch.cat([coarse, colour, low], 1))
        x = x + self.skip(torch.cat([coarse, colour], 1))
        return self.to_uv(x), self.to_vertex(x)

    def levels(self, maps: Sequence[Tensor], rgb: Tensor) -> list[Tensor]:
        """Returns the four levels [B C h w], fine to coarse; `rgb` is normalised."""
        made = []
        for stage, x in enumerate(maps[1:]):
            x = self.resize[stage](self.project[stage](x))
            small = F.interpolate(rgb, x.shape[-2:], mode="bilinear", antialias=True)
            made.append(self.level[stage](torch.cat([small, x], 1)))
        return made

    def fused(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Returns what each fusion stage makes, coarse to fine, the last at twice the finest."""
        made: list[Tensor] = []
        for number, stage in enumerate(self.fuse):
            level = levels[3 - number]
            size = None if number == 3 else levels[2 - number].shape[-2:]
            made.append(stage(level, made[-1] if made else None, size))
        return made


class FusionStage(nn.Module):
    """Joins a level to what came up from below, and resizes.

    Args:
        width: channels.
        joins: whether something comes from below; the coarsest stage stands alone, and its
            first unit exists in released files only.
    """

    def __init__(self, width: int, *, joins: bool) -> None:
        super().__init__()
        self.unit1 = ResidualUnit(width) if joins else None
        self.unit2 = ResidualUnit(width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, below: Tensor | None, size: Sequence[int] | None) -> Tensor:
        """Fuses maps [B C h w] and resizes to `size`, or to twice their own."""
        x = level if below is None or self.unit1 is None else below + self.unit1(level)
        x = self.unit2(x)
        scale = 2.0 if size is None else None
        target = None if size is None else list(size)
        return self.out(F.interpolate(x, target, scale, mode="bilinear", align_corners=False))


class ResidualUnit(nn.Module):
    """Two convolutions after ReLUs, and the identity.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms maps [B C h w]."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class VertexHeads(nn.Module):
    """The template branch: one Gaussian a vertex, from sampled, learned and global features.

    Args:
        inputs: channels of the three together.
        colors: channels of the colour.
        hidden: hidden width of each head.
    """

    def __init__(self, inputs: int, colors: int, *, hidden: int = 128) -> None:
        super().__init__()
        width = inputs // 2
        layers: list[nn.Module] = []
        for count in (inputs, width, width, width):
            layers += [nn.Linear(count, width), nn.ReLU()]
        self.features = nn.Sequential(*layers[:-1])
        outputs = dict(color=colors, opacity=1, scale=3, rotation=4)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(width + DIRECTION, hidden), nn.ReLU(), nn.Linear(hidden, count)
                )
                for name, count in outputs.items()
            }
        )
        _start(self.heads, scale=-2.0)  # 6 mm

    def forward(self, x: Tensor, direction: Tensor) -> dict[str, Tensor]:
        """Decodes [B V inputs] under directions [B 27].

        Returns:
            color [B V F]; opacity [B V 1]; scale [B V 3] in 0..0.05 m; rotation [B V 4], whose
            components are divided by their norm over the vertices, as the released model has it.
        """
        x = self.features(x)
        x = torch.cat([x, direction[:, None].expand(-1, x.shape[1], -1)], -1)
        raw = {name: head(x) for name, head in self.heads.items()}
        return dict(
            color=raw["color"],
            opacity=torch.sigmoid(raw["opacity"]),
            scale=torch.sigmoid(raw["scale"]) * 0.05,
            rotation=F.normalize(raw["rotation"], dim=1),
        )


class TexelHeads(nn.Module):
    """The UV branch's heads: one Gaussian a texel, from the inpainted and the learned map.

    Args:
        inputs: channels of both together.
        colors: channels of the colour.
        width: hidden channels.
    """

    def __init__(self, inputs: int, colors: int, *, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for count in (inputs + DIRECTION, width, width):
            layers += [nn.Conv2d(count, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers[:-1])
        half = width // 2
        self.heads = nn.ModuleDict(
            dict(
                rotation=_head(width, half, 4),
                scale=_head(width, half, 3),
                opacity=_head(width, half, 1),
                color=_head(width, width, colors),
                position=nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.LeakyReLU(SLOPE),
                    *_head(width, half, 3),
                ),
            )
        )
        _start(self.heads, scale=-1.0)  # a third of a triangle

    def forward(self, maps: Tensor, direction: Tensor) -> dict[str, Tensor]:
        """Decodes maps [B inputs S S] under directions [B 27].

        Returns:
            maps of color, opacity, scale (in triangle sizes), rotation (unit) and position (in
            triangle frames and sizes).
        """
        spread = direction[:, :, None, None].expand(-1, -1, *maps.shape[-2:])
        x = self.features(torch.cat([maps, spread], 1))
        raw = {name: head(x) for name, head in self.heads.items()}
        return dict(
            color=raw["color"],
            opacity=torch.sigmoid(raw["opacity"]),
            scale=torch.exp(raw["scale"]),
            rotation=F.normalize(raw["rotation"], dim=1),
            position=raw["position"],
        )


def mapping(inputs: int, width: int) -> nn.Sequential:
    """Returns a three-layer MLP on the global vector."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, width),
        nn.LeakyReLU(SLOPE),
        nn.Linear(width, width),
    )


def view_code(cam_from_world: Tensor) -> Tensor:
    """Codes the image of the world's z axis in the camera [B 4 4], four octaves: [B 27]."""
    direction = cam_from_world[:, :3, 2]
    octaves = 2.0 ** torch.arange(4, device=direction.device)
    phases = (direction[..., None] * octaves).flatten(-2)  # [B 12]
    return torch.cat([phases.sin(), phases.cos(), direction], -1)


def triangle_frames(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Returns frames and sizes of triangles [... 3 3] (corner, axis).

    Returns:
        world_from_triangle [... 3 3], columns along the first edge, along the normal and along
        minus their cross product; size [... 1], the mean of that edge's length and the height.
    """
    edge, other = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    along = F.normalize(edge, dim=-1)
    normal = F.normalize(torch.linalg.cross(along, other), dim=-1)
    across = -F.normalize(torch.linalg.cross(normal, along), dim=-1)
    height = (across * other).sum(-1, keepdim=True).abs()
    size = (edge.norm(dim=-1, keepdim=True) + height) / 2
    return torch.stack([along, normal, across], -1), size


@torch.no_grad()
def _start(heads: nn.ModuleDict, *, scale: float) -> None:
    """Lets Gaussians begin small and unrotated; these starting values are ours."""
    layers: dict[str, Any] = {name: list(head.children())[-1] for name, head in heads.items()}
    layers["scale"].bias.fill_(scale)
    layers["rotation"].bias.copy_(torch.eye(4)[0])
    if "position" in layers:
        layers["position"].weight.mul_(0.1)
        layers["position"].bias.zero_()


def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, outputs, 1)
    )


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `GUAVADecoder`, its entry in front.

    Example:
        >>> official_name("texels.heads.rotation.2.weight")
        'model.uv_point_decoder.rot_head.2.weight'
        >>> official_name("refiner.first.bias")
        'render_model.nerual_refiner.conv_body_first.bias'
    """
    for part, entry in _STYLEUNETS.items():
        if name.startswith(part):
            name = name.removeprefix(part)
            for pattern, official in STYLEUNET_RENAMES:
                name = re.sub(pattern, official, name)
            return entry + name
    for pattern, official in _RENAMES:
        name = re.sub(pattern, official, name)
    return f"model.{name}"


# The frozen encoder, both bodies, the mesh renderer and constants; and the unused unit of the
# coarsest fusion stage.
IGNORED = (
    r"model\.(dino_encoder\.dino_model|ehm|smplx|mesh_renderer)\..*",
    r"model\.(xy_image_coord|v_template|laplacian_matrix)",
    r"model\.dino_encoder\.refinenet\.0\.resConfUnit1\..*",
)
_STYLEUNETS = {
    "inpaint.": "model.uv_feature_decoder.",
    "refiner.": "render_model.nerual_refiner.",
}
_RENAMES = (
    (r"^vertex_features$", "vertex_base_feature"),
    (r"^uv_features$", "uv_base_feature"),
    (r"^to_global\.", "global_feature_mapping."),
    (r"^to_style\.", "uv_style_mapping."),
    (r"^vertices\.features\.", "vertex_gs_decoder.feature_layers."),
    (r"^vertices\.heads\.(\w+)\.", r"vertex_gs_decoder.\1_layers."),
    (r"^texels\.features\.", "uv_point_decoder.feature_conv."),
    (r"^texels\.heads\.rotation\.", "uv_point_decoder.rot_head."),
    (r"^texels\.heads\.position\.", "uv_point_decoder.local_pos_head."),
    (r"^texels\.heads\.(\w+)\.", r"uv_point_decoder.\1_head."),
    (r"^pyramid\.project\.", "dino_encoder.projects."),
    (r"^pyramid\.resize\.", "dino_encoder.resize_layers."),
    (r"^pyramid\.level\.", "dino_encoder.layer_rn."),
    (r"^pyramid\.fuse\.(\d)\.unit", r"dino_encoder.refinenet.\1.resConfUnit"),
    (r"^pyramid\.fuse\.(\d)\.out\.", r"dino_encoder.refinenet.\1.out_conv."),
    (r"^pyramid\.low\.", "dino_encoder.project_l."),
    (r"^pyramid\.detail\.", "dino_encoder.fuse_l."),
    (r"^pyramid\.skip\.", "dino_encoder.skip_l."),
    (r"^pyramid\.to_uv\.", "dino_encoder.output_conv."),
    (r"^pyramid\.to_vertex\.", "dino_encoder.output_conv_2."),
)
