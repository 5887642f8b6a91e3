"""`PaletteDecoder`: a person as a palette of a few colours, and a body painted with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.geometry import matrix_to_quaternion
from presence.interfaces import Body, Decoder
from presence.models.layers import sinusoids, two_layer_mlp
from presence.projection import SurfaceMap
from presence.registry import DECODERS
from presence.structures import Avatar, BodyParams, Camera, Gaussians, ProxyMesh, UVFeatures


@DECODERS.register()
class PaletteDecoder(Decoder):
    """Reads a few colours from the portrait and mixes them on the body by place.

    Each entry of the palette looks for its own kind of cell among the seen ones (skin, hair, a
    sleeve, ...) and takes their average colour and features. Each surface point then mixes the
    entries, by weights that depend on where on the body it is and on what the entries found. So
    colours are always colours of the portrait, hidden places get plausible ones, and there is no
    pattern anywhere: what it cannot do shows beside what it can.

    Args:
        body: gives each point its place on the average person.
        surface: the texels' points on the body.
        in_channels: C of the features.
        entries: K, colours of the palette.
        width: channels of queries and keys.
        frequencies: octaves of the sinusoids of a place.
        reach: metres that a point may leave the surface along its normal.
    """

    needs = "uv"
    places: Tensor

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        *,
        in_channels: int,
        entries: int = 24,
        width: int = 64,
        frequencies: int = 5,
        reach: float = 0.1,
    ) -> None:
        super().__init__()
        self.surface, self.reach, self.width = surface, reach, width
        with torch.no_grad():
            average = body(body.default_params()).rest_vertices.cpu()
        points = surface.binding.to("cpu").interpolate(average)  # [N 3] metres
        self.register_buffer("places", sinusoids(points, frequencies), persistent=False)
        self.queries = nn.Parameter(torch.randn(entries, width))
        self.keys = nn.Linear(in_channels + 3, width)
        self.found = nn.Linear(in_channels + 3, width)
        self.names = nn.Parameter(torch.randn(entries, width))
        self.painter = two_layer_mlp(self.places.shape[-1], 2 * width, width)
        self.shape = two_layer_mlp(width + width, width, 3)

    def forward(
        self, features: UVFeatures, canonical: ProxyMesh, body: BodyParams, camera: Camera
    ) -> Avatar:
        """Decodes a batch of UV features to one Gaussian a texel."""
        palette, entries = self._read(features)
        place = self.painter(self.places)  # [N W]
        weights = torch.einsum("nw,bkw->bnk", place, entries) / self.width**0.5
        mixed = weights.float().softmax(-1)  # [B N K]
        colors = (mixed @ palette).clamp(0, 1)
        about = (mixed.to(entries.dtype) @ entries).float()  # [B N W]
        shape = self.shape(torch.cat([about, place.float().expand_as(about)], -1)).float()
        return Avatar(self._gaussians(colors, shape, canonical), body, camera, self.surface.binding)

    def _read(self, features: UVFeatures) -> tuple[Tensor, Tensor]:
        """Returns the palette's colours [B K 3] and what its entries found [B K W]."""
        grid = features.core.shape[-1]
        texels, seen = features.texels.float(), features.texels_seen.float()
        share = F.adaptive_avg_pool2d(seen, grid)
        color = F.adaptive_avg_pool2d(texels * seen, grid) / share.clamp_min(1e-4)
        cells = torch.cat([color, features.core.float()], 1).flatten(2).transpose(1, 2)  # [B T C]
        scores = self.queries @ self.keys(cells).transpose(1, 2) / self.width**0.5  # [B K T]
        # A cell that nobody sees has no say; the small number keeps a portrait of nobody finite.
        scores = scores.float() + share.flatten(2).clamp_min(1e-6).log()
        taken = scores.softmax(-1) @ cells  # [B K C]
        return taken[..., :3], self.found(taken) + self.names

    def _gaussians(self, colors: Tensor, shape: Tensor, canonical: ProxyMesh) -> Gaussians:
        frames, spacing = self.surface.tangent_frames(canonical.rest_vertices)
        outwards = self.reach * torch.tanh(shape[..., :1]) * frames[..., 2]  # [B N 3]
        size = torch.exp(torch.tanh(shape[..., 1:2]))
        flat = torch.cat([spacing, spacing.amin(-1, keepdim=True)], -1)
        return Gaussians(
            means=outwards,
            quaternions=matrix_to_quaternion(frames),
            scales=(0.6 * size * flat).clamp(1e-4, 2e-2),
            opacities=torch.sigmoid(shape[..., 2] + 2.0),
            colors=colors,
        )
