"""Geometry corrected by a few gradient steps on the portrait."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.errors import ConfigError
from presence.interfaces import GaussianRenderer
from presence.losses import ReconstructionLoss
from presence.models.feedback.base import Feedback
from presence.projection import SurfaceMap
from presence.structures import Avatar, Camera, Portrait, ProxyMesh


class GeometryFeedback(Feedback):
    """Moves Gaussians until the drawing has the portrait's outline.

    A network foresees hair, hems and soles to a few pixels only; the portrait says exactly where
    they end. A fixed number of Adam steps lowers the absolute differences of colour and mask in
    the portrait's view, over white and black in turn. Movements are a blurred map, and vary little
    over it (total variation): what the portrait does not show comes along, and no holes open
    between neighbours. Nothing is learned; sizes, opacities and colours stay as they are.

    Args:
        surface: the texels of the Gaussians.
        steps: drawings, each forwards and backwards.
        rate: metres that one step moves a Gaussian, at most about.
        blur: texels along a side of the box by which movements are averaged, twice.
        smoothness: weight of the variation of movements, 1/m.
    """

    def __init__(
        self,
        surface: SurfaceMap,
        *,
        steps: int = 15,
        rate: float = 1e-3,
        blur: int = 5,
        smoothness: float = 0.04,
    ) -> None:
        super().__init__()
        if blur % 2 == 0:
            raise ConfigError(f"model.feedback.geometry.blur={blur} has no middle: use an odd side")
        self.steps, self.rate, self.blur, self.smoothness = steps, rate, blur, smoothness
        self.surface = surface
        self.difference = ReconstructionLoss(l1=1.0, lpips=0.0, mask=1.0)

    def forward(
        self,
        avatar: Avatar,
        portrait: Portrait,
        posed: ProxyMesh,
        camera: Camera,
        renderer: GaussianRenderer,
    ) -> Avatar:
        """Returns the avatar with corrected geometry, see `Feedback`.

        Raises:
            ConfigError: the Gaussians are not the map's texels.
        """
        start = avatar.canonical.map(Tensor.detach)
        count, texels = start.means.shape[-2], len(self.surface)
        if count != texels:
            raise ConfigError(
                f"the avatar has {count} Gaussians and the UV map {texels} texels, along which "
                "movements are blurred: set model.feedback.geometry=null"
            )
        posed, portrait = posed.map(Tensor.detach), portrait.map(Tensor.detach)

        def moved(by: Tensor) -> Avatar:
            return avatar.replace(canonical=start.replace(means=start.means + by))

        with torch.enable_grad():
            steps = torch.zeros_like(start.means).requires_grad_()
            optimizer = torch.optim.Adam([steps], lr=self.rate, betas=_BETAS)
            for number in range(self.steps):
                optimizer.zero_grad()
                movement = self._blurred(steps)
                behind = portrait.rgb.new_full((len(movement), 3), float(number % 2 == 0))
                drawn = renderer(moved(movement).pose(posed), camera, behind)
                lacks = sum(self.difference(drawn, portrait, behind).values())
                # Sums over the batch: its avatars must not slow each other down.
                cost = len(movement) * lacks
                cost = cost + self.smoothness * self.surface.variation(movement).sum()
                cost.backward()
                optimizer.step()
        with torch.no_grad():
            return moved(self._blurred(steps))

    def _blurred(self, values: Tensor) -> Tensor:
        """Averages values [B N 3] with those around them on the map, twice."""
        surface, side = self.surface, self.blur
        inside = surface.to_map(torch.ones_like(values[:1, :, :1]))  # [1 1 S S]
        # Channels first in memory: with channels last, CUDA's gradient of padded pooling belongs to
        # other texels (torch 2.11; pytorch/pytorch#188344).
        maps = surface.to_map(values).contiguous()
        shares = F.avg_pool2d(inside, side, 1, side // 2).clamp_min(1e-6)
        for _ in range(2):
            maps = F.avg_pool2d(maps, side, 1, side // 2) / shares * inside
        return surface.from_map(maps)


_BETAS = (0.9, 0.95)  # few steps: the scale of gradients must be known soon
