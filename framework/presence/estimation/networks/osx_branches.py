"""OSX's branches for hands and face, with and without deformable decoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from presence.estimation.networks.deformable import WIDTH, DeformableDecoder
from presence.estimation.networks.heatmaps import sample_cells
from presence.estimation.networks.osx_parts import (
    FACE_POINTS,
    FEATURES,
    HANDS,
    PositionNet,
    crop_features,
    deconvolutions,
)

HAND_NUMBERS = 15 * 6
# Sides of the three crops of features, finest first, and the channels of these maps.
HAND_SIDES, FACE_SIDES = (32, 16, 8), (16, 8, 4)
CHANNELS = (256, 512, 1024)


class PlainHands(nn.Module):
    """Hands of the variant without decoders: one crop of enlarged features.

    Args:
        width: channels of the encoder's map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.roi_net = nn.Module()
        self.roi_net.deconv = deconvolutions(width, 512, 256)
        self.roi_net.conv = nn.Sequential(nn.Conv2d(256, width, 1))
        self.position_net = PositionNet(width, HANDS, 16)
        self.regressor = nn.Module()
        self.regressor.hand_conv = nn.Sequential(
            nn.Conv2d(width, FEATURES, 1), nn.BatchNorm2d(FEATURES), nn.ReLU()
        )
        self.regressor.hand_pose_out = nn.Sequential(
            nn.Linear(HANDS * (FEATURES + 3), HAND_NUMBERS)
        )

    def forward(self, maps: Tensor, boxes: Tensor, image: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Returns the mirrored left hand and the right hand, [B 90] each.

        Args:
            maps: [B C 16 12].
            boxes: [B 2 4] of left and right hand in input pixels.
            image: rows and columns of the input.
        """
        crops = self.crops(maps, boxes, image)
        joints, _ = self.position_net(crops)
        features = sample_cells(self.regressor.get_submodule("hand_conv")(crops), joints[..., :2])
        x = torch.cat([features, joints], -1).flatten(1)
        left, right = self.regressor.get_submodule("hand_pose_out")(x).chunk(2)
        return left, right

    def crops(self, maps: Tensor, boxes: Tensor, image: tuple[int, int]) -> Tensor:
        """Returns features of the mirrored left hands, then the right hands, [2B C 16 16]."""
        fine = self.roi_net.get_submodule("deconv")(maps)
        return self.roi_net.get_submodule("conv")(both_hands(fine, boxes, image, 16))


class TokenFace(nn.Module):
    """Expression and jaw straight from their task tokens.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.regressor = nn.Module()
        self.regressor.expr_out = nn.Sequential(nn.Linear(width, 10))
        self.regressor.jaw_pose_out = nn.Sequential(nn.Linear(width, 6))

    def forward(
        self, maps: Tensor, tokens: Tensor, boxes: Tensor, image: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Returns expression [B 10] and jaw [B 6] from the task tokens [B 31 C]."""
        expression = self.regressor.get_submodule("expr_out")(tokens[:, 2])
        return expression, self.regressor.get_submodule("jaw_pose_out")(tokens[:, 3])


class Pyramid(nn.Module):
    """The encoder's map at one, two and four times its side.

    Args:
        width: channels of the encoder's map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deconv = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(width, CHANNELS[2], 1)),
                deconvolutions(width, CHANNELS[1]),
                deconvolutions(width, CHANNELS[1], CHANNELS[0]),
            ]
        )

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Returns maps of 4, 2 and 1 times the size of the encoder's [B C h w]."""
        return [scale(maps) for scale in reversed(self.deconv)]


class AttendingPart(nn.Module):
    """Joints of a part from its middle crop, refined by a deformable decoder.

    Args:
        width: channels of the encoder's map.
        joints: K.
        depth: cells along the view direction, and the side of the middle crop.
        name: of the projection in the released files.
    """

    def __init__(self, width: int, joints: int, depth: int, name: str) -> None:
        super().__init__()
        self.name = name
        self.roi_net = Pyramid(width)
        self.position_net = PositionNet(CHANNELS[1], joints, depth)
        query = (nn.Conv2d(CHANNELS[1], WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.position_net.add_module(name, nn.Sequential(*query))
        self.decoder = DeformableDecoder(joints, CHANNELS)

    def refine(self, crops: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns joint features [B K 256] and joints [B K 3] from crops [B C s s]."""
        middle = crops[1]
        joints, _ = self.position_net(middle)
        queries = sample_cells(self.position_net.get_submodule(self.name)(middle), joints[..., :2])
        points = joints[..., :2] / middle.shape[-1]
        return self.decoder(queries, points, crops), joints


class AttendingHands(AttendingPart):
    """Hands of the variants with a decoder for them.

    Args:
        width: channels of the encoder's map.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, HANDS, HAND_SIDES[1], "hand_conv")
        self.regressor = nn.Module()
        self.regressor.hand_conv = nn.Sequential(nn.Linear(WIDTH, FEATURES))
        self.regressor.hand_pose_out = nn.Sequential(
            nn.Linear(HANDS * (FEATURES + 3), HAND_NUMBERS)
        )

    def forward(self, maps: Tensor, boxes: Tensor, image: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Returns the mirrored left hand and the right hand, [B 90] each; see `PlainHands`."""
        features, joints = self.refine(self.crops(maps, boxes, image))
        features = self.regressor.get_submodule("hand_conv")(features)
        x = torch.cat([features, joints], -1).flatten(1)
        left, right = self.regressor.get_submodule("hand_pose_out")(x).chunk(2)
        return left, right

    def crops(self, maps: Tensor, boxes: Tensor, image: tuple[int, int]) -> list[Tensor]:
        """Returns three crops [2B C s s], finest first: mirrored left hands, then right hands."""
        levels = zip(self.roi_net(maps), HAND_SIDES, strict=True)
        return [both_hands(level, boxes, image, side) for level, side in levels]


class AttendingFace(AttendingPart):
    """The face of the variant with a decoder for it.

    Args:
        width: channels of the encoder's map.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, FACE_POINTS, FACE_SIDES[1], "face_conv")
        inputs = FEATURES + FACE_POINTS * (FEATURES + 3)
        self.regressor = nn.Module()
        self.regressor.conv = nn.Sequential(nn.Linear(CHANNELS[2], FEATURES))
        self.regressor.joint_conv = nn.Sequential(nn.Linear(WIDTH, FEATURES))
        self.regressor.expr_out = nn.Sequential(nn.Linear(inputs, 10))
        self.regressor.jaw_pose_out = nn.Sequential(nn.Linear(inputs, 6))

    def forward(
        self, maps: Tensor, tokens: Tensor, boxes: Tensor, image: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Returns expression [B 10] and jaw [B 6] from the crop in boxes [B 4]."""
        crops = self.crops(maps, boxes, image)
        features, joints = self.refine(crops)
        whole = self.regressor.get_submodule("conv")(crops[2].mean((-2, -1)))
        features = self.regressor.get_submodule("joint_conv")(features)
        x = torch.cat([whole, torch.cat([features, joints], -1).flatten(1)], -1)
        expression = self.regressor.get_submodule("expr_out")(x)
        return expression, self.regressor.get_submodule("jaw_pose_out")(x)

    def crops(self, maps: Tensor, boxes: Tensor, image: tuple[int, int]) -> list[Tensor]:
        """Returns three crops [B C s s], finest first."""
        levels = zip(self.roi_net(maps), FACE_SIDES, strict=True)
        return [crop_features(level, boxes, image, side) for level, side in levels]


def both_hands(maps: Tensor, boxes: Tensor, image: tuple[int, int], side: int) -> Tensor:
    """Crops [B C h w] to mirrored left hands, then right hands, [2B C side side]."""
    left = crop_features(maps, boxes[:, 0], image, side).flip(-1)
    return torch.cat([left, crop_features(maps, boxes[:, 1], image, side)])
