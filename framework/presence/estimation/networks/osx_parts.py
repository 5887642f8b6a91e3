"""OSX's heads: joints, boxes, crops of features, and rotations from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from presence.estimation.networks.heatmaps import sample_cells, soft_argmax

HANDS, FACE_POINTS, BODY_JOINTS = 20, 72, 25  # heat maps a hand, the face, the body
FEATURES = 512  # of a joint before the regressors
GRID = (16, 12)  # rows and columns of the encoder's map
BOX_SCALE = {"left_hand": 2.0, "right_hand": 2.0, "face": 1.5}  # square over larger side


class PositionNet(nn.Module):
    """A 1x1 convolution to volumetric heat maps.

    Args:
        channels: channels in.
        joints: K.
        depth: cells along the view direction.
    """

    def __init__(self, channels: int, joints: int, depth: int) -> None:
        super().__init__()
        self.joints, self.depth = joints, depth
        self.conv = nn.Sequential(nn.Conv2d(channels, joints * depth, 1))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns joints [B K 3] in cells (x, y, z) and probabilities [B K D h w]."""
        return soft_argmax(self.conv(maps).unflatten(1, (self.joints, self.depth)))


class BodyRegressor(nn.Module):
    """Root and body rotations, shape and camera from the task tokens.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        joints = BODY_JOINTS * (FEATURES + 3)
        self.body_conv = nn.Sequential(nn.Linear(width, FEATURES))
        self.root_pose_out = nn.Sequential(nn.Linear(joints, 6))
        self.body_pose_out = nn.Sequential(nn.Linear(joints, 21 * 6))
        self.shape_out = nn.Sequential(nn.Linear(width, 10))
        self.cam_out = nn.Sequential(nn.Linear(width, 3))

    def forward(self, tokens: Tensor, joints: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns root [B 6], body [B 126], shape [B 10] and raw camera [B 3].

        Args:
            tokens: [B 31 C]: shape, camera, expression, jaw, two of hands, 25 joints.
            joints: [B 25 3] cells.
        """
        x = torch.cat([self.body_conv(tokens[:, 6:]), joints], -1).flatten(1)
        return (
            self.root_pose_out(x),
            self.body_pose_out(x),
            self.shape_out(tokens[:, 0]),
            self.cam_out(tokens[:, 1]),
        )


class BoxNet(nn.Module):
    """Boxes of hands and face from the body's features and heat maps.

    Args:
        channels: channels of features and heat maps together.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deconv = deconvolutions(channels, 256, 256, 256)
        self.bbox_center = nn.Sequential(nn.Conv2d(256, 3, 1))
        for name in ("lhand_size", "rhand_size", "face_size"):
            layers = (nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
            self.add_module(name, nn.Sequential(*layers))

    def forward(self, features: Tensor, heat: Tensor) -> tuple[Tensor, Tensor]:
        """Returns centres and sizes [B 3 2] (left hand, right hand, face) in encoder cells.

        Args:
            features: [B C h w].
            heat: [B K D h w] probabilities.
        """
        x = self.deconv(torch.cat([features, heat.flatten(1, 2)], 1))  # [B 256 8h 8w]
        centres, _ = soft_argmax(self.bbox_center(x))
        at = sample_cells(x, centres)
        names = ("lhand_size", "rhand_size", "face_size")
        sizes = [self.get_submodule(n)(at[:, i]) for i, n in enumerate(names)]
        return centres / 8, torch.stack(sizes, 1)


def square_boxes(centres: Tensor, sizes: Tensor, image: tuple[int, int]) -> Tensor:
    """Returns squares [B 3 4] (x0, y0, x1, y1) in the pixels of the network's input.

    Args:
        centres: [B 3 2] encoder cells: left hand, right hand, face.
        sizes: [B 3 2] encoder cells.
        image: rows and columns of the input.
    """
    cell = centres.new_tensor([image[1] / GRID[1], image[0] / GRID[0]])  # px
    scale = centres.new_tensor(list(BOX_SCALE.values()))[:, None]
    side = (sizes * cell).amax(-1, keepdim=True) * scale
    return torch.cat([centres * cell - side / 2, centres * cell + side / 2], -1)


def crop_features(maps: Tensor, boxes: Tensor, image: tuple[int, int], side: int) -> Tensor:
    """Averages maps [B C h w] over a grid in each box [B 4] of input pixels: [B C side side]."""
    from torchvision.ops import roi_align

    height, width = maps.shape[-2:]
    scale = boxes.new_tensor([width / image[1], height / image[0]]).repeat(2)
    return roi_align(maps, list((boxes * scale)[:, None]), (side, side), 1.0, -1, aligned=False)


def deconvolutions(*widths: int) -> nn.Sequential:
    """Returns transposed convolutions that double the side, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
