"""Geometry corrected by a few gradient steps on the portrait."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.interfaces import GaussianRenderer
from presence.losses import SmoothnessLoss
from presence.models.feedback.base import Feedback
from presence.projection import SurfaceMap
from presence.structures import Avatar, Camera, Gaussians, Portrait, ProxyMesh


class GeometryFeedback(Feedback):
    """Moves, resizes and fades Gaussians until the drawing has the portrait's outline.

    A network foresees hair, hems and soles to a few pixels only; the portrait says exactly where
    they end. A fixed number of Adam steps lowers the absolute differences of colour and mask in
    the portrait's view, over white and black in turn. How much a Gaussian moves is kept alike
    among neighbours of the UV map (total variation), so that what the portrait does not show
    comes along. Nothing is learned; colours are left to `ColourFeedback`.

    Args:
        surface: the texels of the Gaussians.
        steps: drawings, each forwards and backwards.
        offset_rate: metres that one step moves a Gaussian, at most about.
        scale_rate: the same for the logarithms of its deviations.
        opacity_rate: the same for its opacity's logit.
        smoothness: weight of the variation of movements, 1/m; 0 leaves it out.
    """

    def __init__(
        self,
        surface: SurfaceMap,
        *,
        steps: int = 15,
        offset_rate: float = 1e-3,
        scale_rate: float = 0.03,
        opacity_rate: float = 0.1,
        smoothness: float = 0.04,
    ) -> None:
        super().__init__()
        self.steps, self.smoothness = steps, smoothness
        self.rates = (offset_rate, scale_rate, opacity_rate)
        self.slopes = SmoothnessLoss(surface)

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
            ConfigError: `smoothness` is asked for, but the Gaussians are not the map's texels.
        """
        start = avatar.canonical.map(Tensor.detach)
        count, texels = start.means.shape[-2], len(self.slopes.surface)
        if self.smoothness and count != texels:
            raise ConfigError(
                f"the avatar has {count} Gaussians and the UV map {texels} "
                "texels: set model.feedback.geometry.smoothness=0, or geometry=null"
            )
        given = posed.map(Tensor.detach), portrait.map(Tensor.detach), camera
        with torch.enable_grad():
            change = [
                torch.zeros_like(part).requires_grad_()
                for part in (start.means, start.scales, start.opacities)
            ]
            optimizer = torch.optim.Adam(
                [dict(params=[c], lr=rate) for c, rate in zip(change, self.rates)], betas=_BETAS
            )
            for step in range(self.steps):
                optimizer.zero_grad()
                changed = avatar.replace(canonical=_changed(start, *change))
                self._cost(changed, change[0], step, *given, renderer).backward()
                optimizer.step()
        with torch.no_grad():
            return avatar.replace(canonical=_changed(start, *change))

    def _cost(
        self,
        avatar: Avatar,
        movement: Tensor,
        step: int,
        posed: ProxyMesh,
        portrait: Portrait,
        camera: Camera,
        renderer: GaussianRenderer,
    ) -> Tensor:
        """Sums what is wrong with each avatar of the batch: none depends on the others."""
        behind = portrait.rgb.new_full((portrait.rgb.shape[0], 3), float(step % 2 == 0))
        drawn = renderer(avatar.pose(posed), camera, behind)
        true = portrait.rgb * portrait.alpha + behind[..., None, None] * (1 - portrait.alpha)
        cost = (drawn.rgb - true).abs().mean((-3, -2, -1))
        cost = cost + (drawn.alpha - portrait.alpha).abs().mean((-3, -2, -1))
        if self.smoothness:
            cost = cost + self.smoothness * self.slopes.variation(movement)
        return cost.sum()


_BETAS = (0.9, 0.95)  # few steps: the scale of gradients must be known soon


def _changed(start: Gaussians, movement: Tensor, growth: Tensor, fading: Tensor) -> Gaussians:
    """Returns Gaussians moved by metres, their deviations and opacities changed as logarithms."""
    logits = torch.logit(start.opacities.clamp(1e-3, 1 - 1e-3))
    return start.replace(
        means=start.means + movement,
        scales=start.scales * growth.exp(),
        opacities=torch.sigmoid(logits + fading),
    )
