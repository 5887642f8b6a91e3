"""Image losses between a rendering and a view: colours, perception and masks (paper Eq. 6-7)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from presence.errors import AssetError
from presence.registry import LOSSES
from presence.structures import Portrait, Rendering

Trunk = Literal["squeeze", "alex", "vgg"]


@LOSSES.register()
class ReconstructionLoss(nn.Module):
    """lambda_1 L1 + lambda_lpips LPIPS (Eq. 6), and L2 and mask terms for silhouettes.

    The person is compared over the background colour that the rendering used, so what lies
    behind the person in the portrait is never a target.

    Args:
        l1: weight of the mean absolute colour difference*.
        l2: weight of the mean squared colour difference*. Where an outline cannot be known, L1 and
            the mask term draw it where it most likely is, L2 as softly as it is unsure.
        lpips: weight of LPIPS*; 0 leaves the network out.
        mask: weight of the mean absolute alpha difference*.
        net: LPIPS trunk.
    """

    def __init__(
        self,
        *,
        l1: float = 1.0,
        l2: float = 0.0,
        lpips: float = 1.0,
        mask: float = 0.5,
        net: Trunk = "squeeze",
    ) -> None:
        super().__init__()
        self.weights = {"l1": l1, "l2": l2, "lpips": lpips, "mask": mask}
        self.net = net

    def forward(self, rendering: Rendering, portrait: Portrait, background: Tensor) -> dict:
        """Compares batched renderings [B 3 H W] with portraits of the same size.

        Args:
            rendering: over `background`.
            portrait: the true view.
            background: [B 3] colour.

        Returns:
            weighted terms by name, each a scalar.

        Raises:
            AssetError: LPIPS is asked for and its trunk is not to be had.
        """
        target = over_background(portrait, background)
        terms = {}
        if self.weights["l1"]:
            terms["l1"] = self.weights["l1"] * (rendering.rgb - target).abs().mean()
        if self.weights["l2"]:
            terms["l2"] = self.weights["l2"] * (rendering.rgb - target).square().mean()
        if self.weights["mask"]:
            terms["mask"] = self.weights["mask"] * (rendering.alpha - portrait.alpha).abs().mean()
        if self.weights["lpips"]:
            distance = self._lpips(target)(2 * rendering.rgb - 1, 2 * target - 1)
            terms["lpips"] = self.weights["lpips"] * distance.mean()
        return terms

    def _lpips(self, like: Tensor) -> nn.Module:
        from presence.evaluation.lpips_net import get_lpips

        network, reason = get_lpips(net=self.net, device=like.device)
        if network is None:
            raise AssetError(f"LPIPS ({self.net}) cannot be a training loss: {reason}")
        return network


def over_background(portrait: Portrait, background: Tensor) -> Tensor:
    """Returns the person [B 3 H W] cut out by alpha over a colour [B 3]."""
    return portrait.rgb * portrait.alpha + background[..., None, None] * (1 - portrait.alpha)
