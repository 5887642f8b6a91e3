"""The closed-form copy: seen texels copied, unseen ones mirrored, the rest filled with the mean."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from presence.geometry import matrix_to_quaternion
from presence.interfaces import Body, Decoder
from presence.projection import SurfaceMap, complete_colours, mirrored_points
from presence.registry import DECODERS
from presence.structures import Avatar, BodyParams, Camera, Gaussians, ProxyMesh, UVFeatures


@DECODERS.register()
class CopyDecoder(Decoder):
    """A baseline that learns nothing: what the projection alone gives.

    Args:
        body: names each vertex's mirror image.
        surface: the texels' points on the body.
        scale: deviation of a Gaussian over the spacing of the texels.
    """

    mirror: Tensor

    needs: ClassVar[Literal["uv", "image"]] = "uv"

    def __init__(self, body: Body, surface: SurfaceMap, *, scale: float = 0.6) -> None:
        super().__init__()
        self.surface, self.scale = surface, scale
        self.register_buffer("mirror", mirrored_points(body, surface), persistent=False)

    def forward(  # type: ignore[override]
        self, features: UVFeatures, canonical: ProxyMesh, body: BodyParams, camera: Camera
    ) -> Avatar:
        """Copies, mirrors and fills; Gaussians lie on the surface, opaque."""
        texels = self.surface.from_map(torch.cat([features.texels, features.texels_seen], 1))
        colour, seen = texels[..., :3], (texels[..., 3:] > 0).float()
        colour = complete_colours(colour, seen, self.mirror)
        frames, spacing = self.surface.tangent_frames(canonical.rest_vertices)
        scales = self.scale * torch.cat([spacing, spacing.amin(-1, keepdim=True)], -1)
        gaussians = Gaussians(
            torch.zeros_like(colour),
            matrix_to_quaternion(frames),
            scales.clamp(1e-4, 2e-2),
            torch.full_like(colour[..., 0], 0.99),
            colour,
        )
        return Avatar(gaussians, body, camera, self.surface.binding)
