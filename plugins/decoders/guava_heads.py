"""GUAVA's heads: features of vertices and texels to Gaussian attributes, and where those apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.geometry import matrix_to_quaternion, quaternion_multiply

SLOPE = 0.01  # of LeakyReLU; the StyleUNets have 0.2
DIRECTION = 27  # channels of the coded view direction


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


def place_texels(texel: Mapping[str, Tensor], corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turns texel attributes in triangle frames into metres.

    Args:
        texel: position, scale [B N 3] and rotation [B N 4].
        corners: [B N 3 3] of each texel's triangle.

    Returns:
        offset from the surface point [B N 3], orientation [B N 4], scale [B N 3].
    """
    frame, size = triangle_frames(corners)
    offset = (frame * (texel["position"] * size)[..., None, :]).sum(-1)
    turn = quaternion_multiply(matrix_to_quaternion(frame), texel["rotation"])
    return offset, turn, texel["scale"] * size


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
