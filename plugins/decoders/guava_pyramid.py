"""GUAVA's image maps: five maps of an encoder and the picture, fused to two at picture size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01  # of LeakyReLU
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
