"""EMICA: FLAME shape by MICA, pose and light by DECA, expression by a network of its own."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.estimation.networks.iresnet import IResNet, MappingNetwork
from presence.estimation.networks.resnet import ResNetRegressor
from presence.models.weight_files import fill_strictly, strip_prefix

SHAPES, EXPRESSIONS = 300, 100
# What DECA's network regresses, in its order. Poses are axis-angle.
DECA_OUTPUTS = {"texture": 50, "jaw": 3, "head": 3, "camera": 3, "light": 27}


@dataclasses.dataclass(frozen=True)
class EmicaOutput:
    """What EMICA says about B faces.

    Attributes:
        shape: [B 300] FLAME 2020 shape coefficients.
        expression: [B 100] FLAME 2020 expression coefficients.
        head: [B 3] global rotation of FLAME, axis-angle, rad; y upwards.
        jaw: [B 3] axis-angle, rad.
        camera: [B 3] scale and shift s (X + t) in the crop's -1..1, y upwards.
        texture: [B 50] albedo coefficients.
        light: [B 27] spherical harmonics.
    """

    shape: Tensor
    expression: Tensor
    head: Tensor
    jaw: Tensor
    camera: Tensor
    texture: Tensor
    light: Tensor


class Emica(nn.Module):
    """The three networks of EMICA (Danecek et al., 2023; Zielonka et al., 2022; Feng et al., 2021).

    Built from the papers: MICA's mapping from an ArcFace identity, DECA's coarse encoder, and a
    second one for the expression.

    Args:
        depths: blocks of the identity network's stages; the released one is an IResNet-100.
    """

    def __init__(self, depths: tuple[int, int, int, int] = (3, 13, 30, 3)) -> None:
        super().__init__()
        self.identity, self.mapping = IResNet(depths), MappingNetwork()
        self.deca = ResNetRegressor(sum(DECA_OUTPUTS.values()))
        self.expression = ResNetRegressor(EXPRESSIONS)

    def forward(self, crops: Tensor, aligned: Tensor) -> EmicaOutput:
        """Estimates FLAME parameters of B faces.

        Args:
            crops: [B 3 224 224] in 0..1, not normalised.
            aligned: [B 3 112 112] in -1..1, on ArcFace's template.
        """
        identity = F.normalize(self.identity(aligned), dim=-1)
        parts = self.deca(crops).split(list(DECA_OUTPUTS.values()), -1)
        return EmicaOutput(
            shape=self.mapping(identity),
            expression=self.expression(crops),
            **dict(zip(DECA_OUTPUTS, parts, strict=True)),
        )


def load_emica(
    tensors: dict[str, Tensor], source: str, depths: tuple[int, int, int, int] = (3, 13, 30, 3)
) -> Emica:
    """Builds EMICA from a released file's tensors, in eval mode.

    Reads the re-packed file (roots `mica_encoder`, `deca_encoder`, `expression_encoder`) and the
    Lightning state dict, in which the same roots lie below `face_encoder.`, and whatever is
    beside that root (body model, renderer, losses) belongs to training.

    Args:
        tensors: official name to tensor.
        source: the file, for errors.
        depths: blocks of the identity network's stages, for tests.

    Raises:
        AssetError: names or shapes differ; the message names every one.
    """
    with torch.device("meta"):
        network = Emica(depths)
    inside = strip_prefix(tensors, _OUTER)
    short = {name.removeprefix(_INNER): value for name, value in inside.items()}
    fill_strictly(network, short, source=source, official_name=official_name, ignored=IGNORED)
    return network.eval()


def official_name(name: str) -> str:
    """Returns the re-packed file's name of a weight of `Emica`.

    Example:
        >>> official_name("deca.encoder.conv1.weight")
        'deca_encoder.encoder.encoder.conv1.weight'
    """
    root, _, rest = name.partition(".")
    return f"{_ROOTS[root]}.{rest}"


_OUTER, _INNER = "face_encoder.", "mica_deca_encoder."
_ROOTS = {
    "identity": "mica_encoder.E_mica.arcface",
    "mapping": "mica_encoder.E_mica.flameModel.regressor",
    "deca": "deca_encoder.encoder",
    "expression": "expression_encoder.encoder",
}
# Buffers of FLAME itself, which MICA's training files hold beside the mapping network.
IGNORED = (r"mica_encoder\.E_mica\.flameModel\.(?!regressor\.).*",)
