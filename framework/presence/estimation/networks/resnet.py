"""ResNet-50 regressors: the trunk and the two-layer head that face and hand estimators share."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

FEATURES = 2048  # channels of ResNet-50's last stage


class ResNet50(nn.Module):
    """ResNet-50 (He et al., 2016) up to its pooled features, names as in torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        trunk: Any = resnet50(weights=None)
        for name, module in trunk.named_children():
            if name != "fc":
                self.add_module(name, module)

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images [B 3 H W] to features [B 2048]."""
        x = self.stem(images)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean((-2, -1))

    def stem(self, images: Tensor) -> Tensor:
        """Returns what enters the first stage, [B 64 H/4 W/4]."""
        x = images
        for name in ("conv1", "bn1", "relu", "maxpool"):
            x = self.get_submodule(name)(x)
        return x


class ResNetRegressor(nn.Module):
    """A ResNet-50 and two linear layers (DECA's coarse encoder, Feng et al., 2021).

    Args:
        outputs: numbers to regress.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = mlp(FEATURES, 1024, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Regresses [B outputs] from images [B 3 H W]."""
        return self.layers(self.encoder(images))


def mlp(*widths: int) -> nn.Sequential:
    """Returns linear layers of these widths with ReLU between them.

    Example:
        >>> [type(layer).__name__ for layer in mlp(4, 3, 2)]
        ['Linear', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
