"""Colours corrected by iterative back projection of the portrait."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.interfaces import GaussianRenderer
from presence.models.feedback.base import Feedback
from presence.projection.silhouette import sample_picture
from presence.structures import Avatar, Camera, Gaussians, Portrait, ProxyMesh

_OPAQUE = 0.5  # alpha from which a pixel of the drawing has a colour of its own


class ColourFeedback(Feedback):
    """Corrects colours by what the avatar's drawing lacks of its portrait, in closed form.

    Splats overlap, so a picture of Gaussians that carry the portrait's colours is a blurred
    portrait. Each step draws the avatar, takes the difference to the portrait inside both
    outlines, and adds it to the Gaussians in front, where their centres project: iterative back
    projection (Irani and Peleg, 1991). Nothing is learned, and geometry stays as it is.

    Args:
        steps: drawings; each costs one rendering.
        gain: share of the difference that is added at each step.
        behind: metres behind the drawn surface at which a Gaussian takes exp(-1) of it.
    """

    def __init__(self, steps: int = 2, *, gain: float = 1.0, behind: float = 0.01) -> None:
        super().__init__()
        self.steps, self.gain, self.behind = steps, gain, behind

    @torch.no_grad()
    def forward(
        self,
        avatar: Avatar,
        portrait: Portrait,
        posed: ProxyMesh,
        camera: Camera,
        renderer: GaussianRenderer,
    ) -> Avatar:
        """Returns the avatar with corrected colours, see `Feedback`."""
        gaussians = avatar.pose(posed)
        for _ in range(self.steps):
            change = self._difference(gaussians, portrait, camera, renderer)
            colors = (gaussians.colors + self.gain * change).clamp(0, 1)
            gaussians = gaussians.replace(colors=colors)
        return avatar.replace(canonical=avatar.canonical.replace(colors=gaussians.colors))

    def _difference(
        self, gaussians: Gaussians, portrait: Portrait, camera: Camera, renderer: GaussianRenderer
    ) -> Tensor:
        drawn = renderer(gaussians, camera)
        own = drawn.rgb / drawn.alpha.clamp_min(_OPAQUE)
        both = ((drawn.alpha >= _OPAQUE) & (portrait.alpha > 0.99)).to(own.dtype)
        lacks = torch.cat([(portrait.rgb - own) * both, drawn.depth], 1)
        values, known = sample_picture(lacks, gaussians.means, camera)
        _, depth = camera.project(gaussians.means)
        front = torch.exp(-(depth - values[..., 3]).clamp_min(0) / self.behind)
        return values[..., :3] * (front * known)[..., None]
