"""IResNet-100, the face recognition network of ArcFace (Deng et al., 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = (3, 13, 30, 3)  # blocks a stage
WIDTHS = (64, 128, 256, 512)
SIDE = 112  # px
EMBEDDING = 512


class IResNet(nn.Module):
    """ArcFace's residual network: a 112 x 112 face to 512 numbers, not normalised.

    Names of weights are those of the released files (insightface's arcface_torch).

    Args:
        depths: blocks of the four stages.
    """

    def __init__(self, depths: tuple[int, int, int, int] = DEPTHS) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(WIDTHS[0]), nn.PReLU(WIDTHS[0])
        inputs = (WIDTHS[0], *WIDTHS)
        for number, depth in enumerate(depths):
            blocks = [IBlock(inputs[number], WIDTHS[number], 2)]
            blocks += [IBlock(WIDTHS[number], WIDTHS[number], 1) for _ in range(depth - 1)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.bn2 = nn.BatchNorm2d(WIDTHS[-1])
        self.fc = nn.Linear(WIDTHS[-1] * (SIDE // 16) ** 2, EMBEDDING)
        self.features = nn.BatchNorm1d(EMBEDDING)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces [B 3 112 112] in -1..1 to [B 512]."""
        x = self.prelu(self.bn1(self.conv1(faces)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


class IBlock(nn.Module):
    """A residual block that normalises before its first convolution and after both.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the second convolution; a block with stride has a learned shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2, self.prelu = nn.BatchNorm2d(outputs), nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Transforms [B C h w] to [B C' h/stride w/stride]."""
        change = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        change = self.bn3(self.conv2(change))
        return change + (x if self.downsample is None else self.downsample(x))


class MappingNetwork(nn.Module):
    """Linear layers with leaky ReLU from an identity to shape coefficients (MICA, Eq. 2).

    Args:
        inputs: numbers in.
        outputs: numbers out, also the hidden width.
        hidden: hidden layers after the first.
    """

    def __init__(self, inputs: int = EMBEDDING, outputs: int = 300, hidden: int = 3) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * (hidden + 1)
        self.network = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.output = nn.Linear(outputs, outputs)

    def forward(self, identity: Tensor) -> Tensor:
        """Maps [B inputs] to [B outputs]."""
        for layer in self.network:
            identity = F.leaky_relu(layer(identity), 0.2)
        return self.output(identity)
