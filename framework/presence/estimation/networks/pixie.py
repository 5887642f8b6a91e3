"""PIXIE (Feng et al., 2021): body, head and hands from their own crops, fused by moderators."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from presence.estimation.networks.hrnet import HRNetEncoder
from presence.estimation.networks.resnet import FEATURES, ResNet50, mlp
from presence.models.weight_files import fill_strictly

Part = Literal["head", "left_hand", "right_hand"]
SURE = 0.7  # a hand crop with more weight than this is taken alone
# What each regressor gives, in order. Rotations are six numbers, (x, y) row by row of the
# matrix's first two columns; the jaw is Euler angles.
BODY = {"camera": 3, "root": 6, "body": 17 * 6, "neck": 6}
HEAD_SHARE = {"shape": 200, "expression": 50, "head": 6, "jaw": 3}
HEAD = {"head_camera": 3, "texture": 50, "light": 27}
HAND_SHARE = {"wrist": 6, "hand": 15 * 6}
HAND = {"hand_camera": 3}


@dataclasses.dataclass(frozen=True)
class PixieOutput:
    """What PIXIE says about B people.

    Attributes:
        camera: [B 3] scale and shift s (X + t) in the body crop's -1..1, y downwards.
        root: [B 6] global rotation.
        body: [B 17 6] joints 1 to 11, 13, 14 and 16 to 19 of SMPL-X, relative.
        neck: [B 6] relative.
        shape: [B 200] SMPL-X 2020 betas.
        expression: [B 50] FLAME 2020 expression.
        head: [B 6] absolute rotation of the head.
        jaw: [B 3] Euler angles about x, y, z in this order (intrinsic), rad.
        left_wrist: [B 6] absolute rotation, of the mirrored wrist.
        right_wrist: [B 6] absolute.
        left_hand: [B 15 6] of the mirrored hand.
        right_hand: [B 15 6].
        head_weight: [B 2] moderator's weights of body and head crop.
        left_weight: [B 2] of body and left hand crop.
        right_weight: [B 2] of body and right hand crop.
    """

    camera: Tensor
    root: Tensor
    body: Tensor
    neck: Tensor
    shape: Tensor
    expression: Tensor
    head: Tensor
    jaw: Tensor
    left_wrist: Tensor
    right_wrist: Tensor
    left_hand: Tensor
    right_hand: Tensor
    head_weight: Tensor
    left_weight: Tensor
    right_weight: Tensor


class NormalisedEncoder(nn.Module):
    """An encoder behind ImageNet's normalisation, whose numbers are stored with it.

    Args:
        encoder: images [B 3 224 224] to features [B 2048].
    """

    MEAN: Tensor
    STD: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.register_buffer("MEAN", torch.zeros(1, 3, 1, 1))
        self.register_buffer("STD", torch.ones(1, 3, 1, 1))
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images [B 3 224 224] in 0..1."""
        return self.encoder((images - self.MEAN) / self.STD)


class Regressor(nn.Module):
    """Linear layers with ReLU between.

    Args:
        widths: of inputs, hidden layers and outputs.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = mlp(*widths)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B inputs] to [B outputs]."""
        return self.layers(x)


class Moderator(nn.Module):
    """Weighs the features that the body crop and a part's own crop give of that part."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(1))
        self.layers = mlp(2 * FEATURES, 1024, 1024, 2)

    def forward(self, body: Tensor, part: Tensor) -> Tensor:
        """Returns weights [B 2] of body and part from features [B 2048] each."""
        return (self.layers(torch.cat([body, part], -1)) * self.temperature).softmax(-1)


class Pixie(nn.Module):
    """The network. Submodules have the released names; one right-hand network serves both hands."""

    def __init__(self) -> None:
        super().__init__()
        self.Encoder_body = NormalisedEncoder(HRNetEncoder())
        self.Encoder_head = NormalisedEncoder(ResNet50())
        self.Encoder_hand = NormalisedEncoder(ResNet50())
        self.Regressor_body = Regressor(FEATURES, 1024, sum(BODY.values()))
        self.Regressor_head_share = Regressor(FEATURES, 1024, 1024, sum(HEAD_SHARE.values()))
        self.Regressor_hand_share = Regressor(FEATURES, 1024, 1024, sum(HAND_SHARE.values()))
        self.Regressor_head = Regressor(FEATURES, 1024, sum(HEAD.values()))
        self.Regressor_hand = Regressor(FEATURES, 1024, sum(HAND.values()))
        self.Extractor_head_share = Regressor(FEATURES, FEATURES)
        self.Extractor_left_hand_share = Regressor(FEATURES, FEATURES)
        self.Extractor_right_hand_share = Regressor(FEATURES, FEATURES)
        self.Moderator_head_share, self.Moderator_hand_share = Moderator(), Moderator()

    def forward(
        self,
        body: Tensor,
        head: Tensor | None = None,
        left_hand: Tensor | None = None,
        right_hand: Tensor | None = None,
    ) -> PixieOutput:
        """Estimates B people; expression and finger poses come from the part crops alone.

        A part without a crop is estimated from the body crop, its weights being 1 and 0.

        Args:
            body: [B 3 224 224] in 0..1.
            head: [B 3 224 224].
            left_hand: [B 3 224 224], mirrored, so that it looks like a right hand.
            right_hand: [B 3 224 224].
        """
        whole = self.Encoder_body(body)
        own_head, fused_head, head_weight = self.fuse("head", whole, head)
        own_left, left, left_weight = self.fuse("left_hand", whole, left_hand)
        own_right, right, right_weight = self.fuse("right_hand", whole, right_hand)
        shared = self.head(fused_head)
        shared["expression"] = self.head(own_head)["expression"]
        outputs = _named(self.Regressor_body(whole), BODY)
        outputs["body"] = outputs["body"].unflatten(-1, (17, 6))
        return PixieOutput(
            **outputs,
            **shared,
            left_wrist=self.hand(left)["wrist"],
            right_wrist=self.hand(right)["wrist"],
            left_hand=self.hand(own_left)["hand"].unflatten(-1, (15, 6)),
            right_hand=self.hand(own_right)["hand"].unflatten(-1, (15, 6)),
            head_weight=head_weight,
            left_weight=left_weight,
            right_weight=right_weight,
        )

    def head(self, features: Tensor) -> dict[str, Tensor]:
        """Returns shape, expression, head rotation and jaw from features [B 2048]."""
        return _named(self.Regressor_head_share(features), HEAD_SHARE)

    def hand(self, features: Tensor) -> dict[str, Tensor]:
        """Returns wrist and finger rotations from features [B 2048]."""
        return _named(self.Regressor_hand_share(features), HAND_SHARE)

    def fuse(self, part: Part, whole: Tensor, crop: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns a part's own features, those fused with the body's, and the weights of both.

        Args:
            part: which.
            whole: [B 2048] features of the body crop.
            crop: [B 3 224 224] of the part, None to take the body's features for its own.

        Returns:
            ([B 2048], [B 2048], [B 2] of body and part, before `SURE`).
        """
        body = self.get_submodule(f"Extractor_{part}_share")(whole)
        if crop is None:
            return body, body, body.new_tensor([1.0, 0.0]).expand(len(body), 2)
        kind = "head" if part == "head" else "hand"
        own = self.get_submodule(f"Encoder_{kind}")(crop)
        weight = self.get_submodule(f"Moderator_{kind}_share")(body, own)
        trust = weight[:, 1:]
        if kind == "hand":
            trust = torch.where(trust > SURE, 1.0, trust)
        return own, (1 - trust) * body + trust * own, weight


def load_pixie(tensors: dict[str, Tensor], source: str) -> Pixie:
    """Builds PIXIE from a released file's tensors, in eval mode.

    Args:
        tensors: entry and official name, joined by a dot, to tensor.
        source: the file, for errors.

    Raises:
        AssetError: names or shapes differ; the message names every one.
        ConfigError: timm is not installed.
    """
    with torch.device("meta"):
        network = Pixie()
    fill_strictly(network, tensors, source=source)
    return network.eval()


def _named(values: Tensor, sizes: dict[str, int]) -> dict[str, Tensor]:
    return dict(zip(sizes, values.split(list(sizes.values()), -1), strict=True))
