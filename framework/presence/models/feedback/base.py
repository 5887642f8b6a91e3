"""What every kind of feedback is called with, and several of them in a row."""

from __future__ import annotations

from typing import Any

from torch import nn

from presence.interfaces import GaussianRenderer
from presence.structures import Avatar, Camera, Portrait, ProxyMesh


class Feedback(nn.Module):
    """Corrects an avatar by what its drawing lacks of the portrait that it was made from."""

    def forward(
        self,
        avatar: Avatar,
        portrait: Portrait,
        posed: ProxyMesh,
        camera: Camera,
        renderer: GaussianRenderer,
    ) -> Avatar:
        """Returns the corrected avatar.

        Args:
            avatar: [B], reconstructed from the portrait.
            portrait: [B 3 H W].
            posed: the body in the portrait, [B].
            camera: the portrait's, [B].
            renderer: draws Gaussians.
        """
        raise TypeError(f"{type(self).__name__} defines no forward")


class FeedbackChain(nn.ModuleList):
    """Feedback of several kinds, one after the other; none at all changes nothing."""

    def forward(self, avatar: Avatar, *given: Any) -> Avatar:
        """Returns the corrected avatar; takes what `Feedback.forward` takes."""
        for correct in self:
            avatar = correct(avatar, *given)
        return avatar
