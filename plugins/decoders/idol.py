"""The IDOL decoder (Zhuang et al., CVPR 2025): UV tokens among image tokens, then one UV code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.geometry import (
    axis_angle_to_quaternion,
    matrix_to_quaternion,
    quaternion_multiply,
)
from presence.interfaces import Body, Decoder
from presence.models.official import OfficialLayout
from presence.models.training_files import read_state_dict
from presence.projection import SurfaceMap
from presence.registry import DECODERS
from presence.structures import Avatar, BodyParams, Camera, Gaussians, ImageFeatures, ProxyMesh
from presence_plugins.decoders.idol_network import (
    IGNORED,
    CodeHeads,
    ConvUpsampler,
    IDOLNetwork,
    UVNeck,
    activate,
    nearest_neighbours,
    official_name,
    sample_uv,
    spacing_of,
)

_PREFIX = "decoder.network."


@DECODERS.register()
class IDOLDecoder(Decoder):
    """Learned UV tokens attend among image tokens; convolutions turn them into attribute maps.

    Defaults are the released model's. Gaussians stand at the points of the surface map, oriented
    along the surface and as large as the spacing to their three neighbours. The published model
    takes that spacing from the posed points of every frame; here it is the person's in the rest
    pose, offsets included, with the neighbours of the average person.

    Args:
        body: gives the average person, for the neighbours.
        surface: the points; a map of 384 x 384 has about the 100K of the paper.
        in_channels: channels of the features: `layers` maps one after another.
        layers: how many maps of the encoder the features hold, from deep to shallow. Either one a
            block, or a single one that enters every block.
        grid: side of the grid of UV tokens.
        width: channels of a token.
        blocks: transformer blocks.
        heads: attention heads.
        deconvolutions: channels of each stage that doubles the grid.
        convolutions: channels of the convolutions after them.
        geometry: hidden channels of the offset (and opacity) head.
        texture: hidden channels of the colour, size and rotation head.
        opacity: `"fixed"` draws every Gaussian opaque, as the released model does.
    """

    needs: ClassVar[Literal["uv", "image"]] = "image"
    official: ClassVar[OfficialLayout] = OfficialLayout(
        name=lambda name: official_name(name.removeprefix(_PREFIX)),
        ignored=IGNORED,
        read=read_state_dict,
    )
    neighbours: Tensor

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        *,
        in_channels: int = 16 * 1536,
        layers: int = 16,
        grid: int = 96,
        width: int = 1536,
        blocks: int = 16,
        heads: int = 16,
        deconvolutions: Sequence[int] = (512, 512, 512, 256),
        convolutions: Sequence[int] = (128, 128),
        geometry: int = 64,
        texture: int = 128,
        opacity: Literal["fixed", "learned"] = "fixed",
    ) -> None:
        super().__init__()
        if layers not in (1, blocks):
            raise ConfigError(f"layers={layers} should be 1 or blocks={blocks}")
        if in_channels % layers:
            raise ConfigError(f"the encoder's {in_channels} channels are not {layers} equal maps")
        self.surface, self.layers, self.blocks = surface, layers, blocks
        self.network = IDOLNetwork(
            UVNeck(in_channels // layers, grid=grid, width=width, blocks=blocks, heads=heads),
            ConvUpsampler(width, deconvolutions, convolutions),
            CodeHeads(geometry, texture, opacity=opacity == "learned"),
        )
        with torch.no_grad():
            rest = body(body.default_params()).rest_vertices.cpu()
        points = surface.binding.to("cpu").interpolate(rest)
        self.register_buffer("neighbours", nearest_neighbours(points), persistent=False)

    def forward(  # type: ignore[override]
        self, features: ImageFeatures, canonical: ProxyMesh, body: BodyParams, camera: Camera
    ) -> Avatar:
        """Decodes feature maps of a batch to avatars with one Gaussian a surface point."""
        maps = self.network(self._tokens(features.grid))
        gaussians = self._gaussians(maps, canonical)
        return Avatar(gaussians, body, camera, self.surface.binding)

    def _tokens(self, grid: Tensor) -> list[Tensor]:
        """Cuts [B layers*C h w] into the tokens [B h*w C] of each block."""
        maps = grid.flatten(2).transpose(1, 2).chunk(self.layers, -1)
        return list(maps) * (self.blocks // self.layers)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def _gaussians(self, maps: Tensor, canonical: ProxyMesh) -> Gaussians:
        """Samples attribute maps at the surface points and activates them, in float32."""
        raw = activate(sample_uv(maps.float(), self.surface.uv))
        frames, _ = self.surface.tangent_frames(canonical.rest_vertices)
        points = self.surface.binding.interpolate(canonical.rest_vertices)
        spacing = spacing_of((points + raw["offset"]).detach(), self.neighbours)
        turn = axis_angle_to_quaternion(raw["rotation"])
        return Gaussians(
            raw["offset"],
            quaternion_multiply(matrix_to_quaternion(frames), turn),
            ((raw["radius"] + 1) * spacing[..., None]).clamp_min(_SMALLEST),
            raw["opacity"][..., 0],
            raw["rgb"].clamp(0, 1),
        )


# Metres: a radius may reach -1, but a Gaussian without extent has no gradient to grow again.
_SMALLEST = 1e-5
