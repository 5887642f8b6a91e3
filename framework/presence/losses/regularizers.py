"""Regularizers on canonical Gaussians: geometry (paper Eq. 8-11) and texture (Eq. 12-14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from presence.interfaces import Body
from presence.projection import SurfaceMap
from presence.registry import LOSSES
from presence.structures import Avatar


class Regularizer(nn.Module):
    """Base of the terms that look at an avatar alone.

    Args:
        weight: factor of the term (the paper's lambdas are not in its text).
    """

    name = "regularizer"

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, avatar: Avatar) -> Tensor:
        """Returns the weighted term [] of avatars [B]."""
        return self.weight * self.term(avatar)

    def term(self, avatar: Avatar) -> Tensor:
        """Returns the term [] without its weight; Gaussians are [B N ...], one a texel."""
        raise TypeError(f"{type(self).__name__} defines no term")


@LOSSES.register()
class OffsetLoss(Regularizer):
    """Mean squared offset from the body surface, m^2 (Eq. 8).

    Args:
        weight: factor of the term.
    """

    name = "offset"

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__(weight)

    def term(self, avatar: Avatar) -> Tensor:
        """Returns mean ||offset||^2 [] of offsets [B N 3], m^2."""
        return avatar.canonical.means.square().sum(-1).mean()


@LOSSES.register()
class OffsetHingeLoss(Regularizer):
    """Hinge on the distance from the body surface, m: LHM's "as close as possible" term.

    Source: Qiu et al., LHM, 2025, without its weights by body part.

    Args:
        weight: factor of the term.
        limit: metres that cost nothing; 0.0525 in the paper.
    """

    name = "offset_hinge"

    def __init__(self, *, weight: float = 10.0, limit: float = 0.0525) -> None:
        super().__init__(weight)
        self.limit = limit

    def term(self, avatar: Avatar) -> Tensor:
        """Returns mean max(0, ||offset|| - limit) [] of offsets [B N 3], m."""
        offsets = avatar.canonical.means
        squared = offsets.square().sum(-1)  # compared as squares: a root has no slope at zero
        far = squared > self.limit**2
        distance = torch.where(far, squared, torch.ones_like(squared)).sqrt() - self.limit
        return torch.where(far, distance, torch.zeros_like(distance)).mean()


@LOSSES.register()
class SmoothnessLoss(Regularizer):
    """Total variation of the offset map: neighbouring texels stay on one surface*.

    Where pictures do not say how far hair or cloth stands off, nothing else keeps the Gaussians of
    neighbouring texels from scattering over all depths that are possible. Absolute differences
    leave true edges sharp.

    Args:
        surface: the texels of the Gaussians.
        weight: factor of the term.
    """

    name = "smoothness"

    def __init__(self, surface: SurfaceMap, *, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.surface = surface

    def term(self, avatar: Avatar) -> Tensor:
        """Returns the mean |slope| [] of offsets [B N 3] in a chart, m over the map's side."""
        return self.surface.variation(avatar.canonical.means).mean()


@LOSSES.register()
class ScaleLoss(Regularizer):
    """Hinge on the largest deviation of each Gaussian (Eq. 9).

    Args:
        weight: factor of the term.
        limit: metres a deviation may reach at no cost*.
    """

    name = "scale"

    def __init__(self, *, weight: float = 1.0, limit: float = 0.01) -> None:
        super().__init__(weight)
        self.limit = limit

    def term(self, avatar: Avatar) -> Tensor:
        """Returns mean max(0, max_axis(scale) - limit) [] of deviations [B N 3], m."""
        return (avatar.canonical.scales.amax(-1) - self.limit).clamp_min(0).mean()


@LOSSES.register()
class IsotropyLoss(Regularizer):
    """Hinge on the ratio between longest and shortest axis (Eq. 10).

    Args:
        weight: factor of the term.
        ratio: r, the ratio that costs nothing*.
    """

    name = "isotropy"

    def __init__(self, *, weight: float = 1.0, ratio: float = 5.0) -> None:
        super().__init__(weight)
        self.ratio = ratio

    def term(self, avatar: Avatar) -> Tensor:
        """Returns mean max(0, max(scale) / min(scale) - r) [] of deviations [B N 3]."""
        scales = avatar.canonical.scales
        return (scales.amax(-1) / scales.amin(-1).clamp_min(1e-8) - self.ratio).clamp_min(0).mean()


@LOSSES.register()
class OpacityLoss(Regularizer):
    """Pulls the mean opacity of every patch of the opacity map to a target (Eq. 13).

    Args:
        surface: the texels of the Gaussians.
        weight: factor of the term.
        target: mean opacity wanted, 0.8 in the paper.
        patches: patches along a side of the map.
    """

    name = "opacity"
    cells: Tensor
    count: Tensor
    filled: Tensor

    def __init__(
        self,
        surface: SurfaceMap,
        *,
        weight: float = 1.0,
        target: float = 0.8,
        patches: int = 64,
    ) -> None:
        super().__init__(weight)
        self.target = target
        self.register_buffer("cells", surface.cells(patches), persistent=False)
        count = torch.bincount(self.cells, minlength=patches**2)
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("filled", count.nonzero()[:, 0], persistent=False)

    def term(self, avatar: Avatar) -> Tensor:
        """Returns the mean over filled patches of (mean opacity - target)^2 [], of [B N]."""
        means = patch_means(avatar.canonical.opacities[..., None], self.cells, self.count)[..., 0]
        return (means.index_select(-1, self.filled) - self.target).square().mean()


@LOSSES.register()
class HandConsistencyLoss(Regularizer):
    """Pulls each hand patch's colour statistics to those of the nearest face patch (Eq. 12).

    The face side is detached, so hands follow the face and never the reverse.

    Args:
        body: names the vertices of face and hands.
        surface: the texels of the Gaussians.
        weight: factor of the term.
        patches: patches along a side of the map.
    """

    name = "hand"
    cells: Tensor
    count: Tensor
    hand_cells: Tensor
    face_cells: Tensor

    def __init__(
        self, body: Body, surface: SurfaceMap, *, weight: float = 1.0, patches: int = 64
    ) -> None:
        super().__init__(weight)
        self.register_buffer("cells", surface.cells(patches), persistent=False)
        hand = part_share(body, surface, ("left_hand", "right_hand"), patches)
        face = part_share(body, surface, ("face",), patches)
        self.register_buffer("hand_cells", (hand > 0.5).nonzero()[:, 0], persistent=False)
        self.register_buffer("face_cells", (face > 0.5).nonzero()[:, 0], persistent=False)
        count = torch.bincount(self.cells, minlength=patches**2)
        self.register_buffer("count", count, persistent=False)

    def term(self, avatar: Avatar) -> Tensor:
        """Returns the mean over hand patches of the squared distance to the nearest face patch [].

        Patches compare by mean and deviation of their colours [B N 3].
        """
        colours = avatar.canonical.colors
        mean = patch_means(colours, self.cells, self.count)
        variance = patch_means(colours.square(), self.cells, self.count) - mean.square()
        statistics = torch.cat([mean, variance.clamp_min(1e-6).sqrt()], -1)  # [B P 6]
        hands = statistics[..., self.hand_cells, :]
        faces = statistics[..., self.face_cells, :].detach()
        return torch.cdist(hands, faces).amin(-1).square().mean()


def patch_means(values: Tensor, cells: Tensor, count: Tensor) -> Tensor:
    """Averages values [... N C] of texels over their patches to [... P C], 0 where empty."""
    total = values.new_zeros(*values.shape[:-2], count.shape[0], values.shape[-1])
    return total.index_add(-2, cells, values) / count.clamp_min(1)[:, None]


def part_share(body: Body, surface: SurfaceMap, parts: tuple[str, ...], patches: int) -> Tensor:
    """Returns [patches^2] the share of each patch's texels that lie on the named body parts."""
    member = torch.zeros(body.topology.num_vertices)
    for part in parts:
        member[body.vertex_parts[part].cpu()] = 1.0
    inside = (member[surface.vertex_ids.cpu()].mean(-1) > 0.5).float()
    cells = surface.cells(patches).cpu()
    count = torch.bincount(cells, minlength=patches**2).clamp_min(1)
    return torch.zeros(patches**2).index_add(0, cells, inside) / count
