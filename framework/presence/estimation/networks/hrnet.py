"""HRNet-W48 with PIXIE's tail: four resolutions joined into one feature vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from presence.errors import ConfigError

WIDTHS = (48, 96, 192, 384)  # channels of the branches, finest first


class HRNetEncoder(nn.Module):
    """HRNet-W48 (Wang et al., 2020), its branches brought to the coarsest and convolved to 2048.

    The trunk is timm's, whose weights have the released names.
    """

    def __init__(self) -> None:
        super().__init__()
        trunk = _trunk()
        for name in _PARTS:
            self.add_module(name, trunk.get_submodule(name))
        self.subsample_4 = halvings(WIDTHS[0], 3)
        self.subsample_3 = halvings(WIDTHS[1], 2)
        self.subsample_2 = halvings(WIDTHS[2], 1)
        inputs = [4 * WIDTHS[3]] + 4 * [2048]
        self.conv_layers = nn.Sequential(*(Bottleneck(channels) for channels in inputs))

    def forward(self, images: Tensor) -> Tensor:
        """Encodes normalised images [B 3 224 224] to features [B 2048]."""
        return self.conv_layers(self.join(self.branches(images))).mean((-2, -1))

    def branches(self, images: Tensor) -> list[Tensor]:
        """Returns the four branches' maps, finest first, at strides 4, 8, 16 and 32."""
        x = images
        for name in ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"):
            x = self.get_submodule(name)(x)
        maps = [x]
        for stage in (2, 3, 4):
            transitions: Any = self.get_submodule(f"transition{stage - 1}")
            maps = [
                maps[min(number, len(maps) - 1)]
                if isinstance(transition, nn.Identity)
                else transition(maps[-1])
                for number, transition in enumerate(transitions)
            ]
            maps = self.get_submodule(f"stage{stage}")(maps)
        return maps

    def join(self, maps: list[Tensor]) -> Tensor:
        """Joins the branches to [B 1536 h w] at the coarsest one's stride."""
        return torch.cat(
            [
                self.subsample_4(maps[0]),
                self.subsample_3(maps[1]),
                self.subsample_2(maps[2]),
                maps[3],
            ],
            1,
        )


class Bottleneck(nn.Module):
    """ResNet's bottleneck with a shortcut of one convolution.

    Args:
        inputs: channels in; 2048 come out.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, 512, 1, bias=False), nn.BatchNorm2d(512)
        self.conv2, self.bn2 = nn.Conv2d(512, 512, 3, padding=1, bias=False), nn.BatchNorm2d(512)
        self.conv3, self.bn3 = nn.Conv2d(512, 2048, 1, bias=False), nn.BatchNorm2d(2048)
        self.downsample = nn.Conv2d(inputs, 2048, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [B C h w] to [B 2048 h w]."""
        change = self.bn1(self.conv1(x)).relu()
        change = self.bn3(self.conv3(self.bn2(self.conv2(change)).relu()))
        return (change + self.downsample(x)).relu()


def halvings(channels: int, times: int) -> nn.Sequential:
    """Returns convolutions that halve the side and double the channels, `times` times."""
    layers: list[nn.Module] = []
    for number in range(times):
        inputs = channels << number
        layers += [
            nn.Conv2d(inputs, 2 * inputs, 3, 2, padding=1),
            nn.BatchNorm2d(2 * inputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _trunk() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ConfigError("PIXIE needs timm: pip install 'presence3d[encoders]'") from error
    return timm.create_model("hrnet_w48", pretrained=False)


_PARTS = (
    *("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"),
    *("transition1", "stage2", "transition2", "stage3", "transition3", "stage4"),
)
