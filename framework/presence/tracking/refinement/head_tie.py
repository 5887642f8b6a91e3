"""`HeadTie`: a body's shape and FLAME's, tied by the head that they both say the person has."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from presence.tracking.refinement.flame_head import FlameHead

_COUNT = 60.0  # neighbouring vertices err together: all of a head count as so many landmarks


class HeadTie:
    """What FLAME's neutral head says of the body's betas: a quadratic cost of them.

    FLAME's head, brought to the body by the affine map between the models' mean heads, is what
    the betas should make of the body's head: its form, and its size, which counts as one number
    of its own. Where on the body the head sits, FLAME does not know. What no betas explain is left
    to the offsets.

    Args:
        head: the body with FLAME's head.
        shape: [S'] FLAME's.
        sigma: m, of the form of FLAME's head.
        size: of FLAME's head over the true one, less 1. Adults' heads vary by 3%: FLAME alone
            does not tell much more of them than that they are adults'.
    """

    def __init__(
        self, head: FlameHead, shape: Tensor, *, sigma: float = 0.003, size: float = 0.03
    ) -> None:
        body, ids = head.body, head.ids
        wanted = _centred(head.canonical(shape).double()).flatten()  # [V*3]
        moved = body.shapedirs.unflatten(-1, (-1, 3))[:, ids].double()  # [S V 3]
        gap = _centred(body.v_template[ids].double()).flatten() - wanted
        columns = torch.cat([_centred(moved).flatten(1), gap[None]])  # [S+1 V*3]
        larger = columns @ wanted / wanted.square().sum()  # [S+1] by how much, of the whole
        form = columns - larger[:, None] * wanted
        weight = _COUNT / (len(ids) * sigma**2)
        self.gram = weight * form @ form.T + torch.outer(larger, larger) / size**2

    def to(self, device: torch.device | str) -> HeadTie:
        """Returns the same on a device."""
        moved = copy.copy(self)
        moved.gram = self.gram.to(device)
        return moved

    def __call__(self, betas: Tensor) -> Tensor:
        """Returns the cost [] of betas [S], which is differentiable."""
        known = torch.cat([betas, betas.new_ones(1)]).to(self.gram)
        return (known @ self.gram @ known).to(betas)

    def nearest(self, betas: Tensor) -> Tensor:
        """Returns the betas [S] of least cost, each of which usually moves by 1 from `betas`."""
        gram = self.gram[:-1, :-1] + torch.eye(len(betas)).to(self.gram)
        return torch.linalg.solve(gram, betas.to(gram) - self.gram[:-1, -1]).to(betas)


def _centred(points: Tensor) -> Tensor:
    return points - points.mean(-2, keepdim=True)
