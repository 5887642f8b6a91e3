"""The second look: placed Gaussians beside the portrait that they were made from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from presence.projection.covering import cover, gaps
from presence.projection.silhouette import carve, colours_at, narrow
from presence.projection.surface import SurfaceMap
from presence.structures import Avatar, Camera, Portrait, ProxyMesh, UVFeatures


class SecondLook(nn.Module):
    """Mends in closed form what a network leaves: gaps, what crosses the outline, shifted colours.

    Nothing is learned. Geometry is in float32, also under autocast.

    Args:
        surface: the texels of the Gaussians.
        cover: share of the distance to its farthest neighbour that a Gaussian's deviations along
            the surface have at least, see `presence.projection.cover`; 0 leaves them.
        carve: take away what leaves the body's outline for the portrait's background, see
            `presence.projection.carve`.
        narrow: standard deviations that must fit between a Gaussian and the portrait's outline,
            see `presence.projection.narrow`; 0 leaves sizes as they are.
        resample: read the portrait's colours where the Gaussians are.
    """

    def __init__(
        self,
        surface: SurfaceMap,
        *,
        cover: float = 0.0,
        carve: bool = False,
        narrow: float = 0.0,
        resample: bool = False,
    ) -> None:
        super().__init__()
        self.surface = surface
        self.cover, self.carve, self.narrow, self.resample = cover, carve, narrow, resample

    @property
    def active(self) -> bool:
        """Whether anything is switched on."""
        return self.carve or self.resample or self.cover > 0 or self.narrow > 0

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(
        self, avatar: Avatar, portrait: Portrait, posed: ProxyMesh
    ) -> tuple[Avatar, Tensor | None]:
        """Compares the placed Gaussians with the portrait: its outline, and its colours anew.

        Args:
            avatar: [B], whose camera is the portrait's.
            portrait: [B 3 H W].
            posed: the body in the portrait, [B].

        Returns:
            The avatar with mended sizes and opacities, and the colours where its Gaussians are
            with how far to trust them [B N 4] (see `presence.projection.colours_at`), or None.
        """
        means = avatar.pose(posed).means
        canonical = avatar.canonical
        surface = avatar.binding.interpolate(posed.vertices)
        if self.cover:
            gap = gaps(self.surface, means, surface)
            canonical = canonical.replace(scales=cover(canonical.scales, gap, self.cover))
        if self.carve:
            left = carve(portrait.alpha, means, surface, avatar.camera)
            canonical = canonical.replace(opacities=canonical.opacities * left)
        if self.narrow:
            given = portrait.alpha, means, surface, avatar.camera
            scales = narrow(canonical.scales, *given, self.narrow)
            canonical = canonical.replace(scales=scales)
        colours = colours_at(portrait, means, avatar.camera) if self.resample else None
        return avatar.replace(canonical=canonical), colours

    def settle(
        self, features: UVFeatures, means: Tensor, portraits: Portrait, camera: Camera
    ) -> UVFeatures:
        """With `resample`, gives seen texels their portrait's colour where the Gaussians are.

        Args:
            features: [K] of portraits.
            means: [K N 3] centres of one person's Gaussians, posed as in each portrait, metres.
            portraits: [K 3 H W].
            camera: [K].
        """
        if not self.resample:
            return features
        there = colours_at(portraits, means, camera)
        texels = torch.cat([features.texels, features.texels_seen], 1)
        rgb, seen = self.surface.from_map(texels).split([3, 1], -1)
        rgb = torch.lerp(rgb, there[..., :3], there[..., 3:]) * (seen > 0)
        return features.replace(texels=self.surface.to_map(rgb), settled=True)
