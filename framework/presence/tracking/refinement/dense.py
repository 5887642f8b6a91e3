"""`DenseTarget`: where some of the body's own vertices are seen (Eq. 20-21, dense terms)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from presence.bodies import Body
from presence.structures import TensorStruct, static, tensor
from presence.tracking.landmarks import PointRig
from presence.tracking.refinement.losses import geman_mcclure, project
from presence.tracking.refinement.posing import BatchRig, FrameStates

_COUNT = 60.0  # neighbouring vertices err together: all of a part count as so many landmarks


@dataclasses.dataclass(frozen=True, eq=False)
class DenseTarget(TensorStruct):
    """Vertices of the body and where a part's own estimator (FLAME, MANO) sees them.

    Attributes:
        pixels: [T N 2] px.
        valid: [T] 1 in frames where the part was estimated.
        vertices: [N] of the body, by the models' correspondences.
        stage: the stage that listens to it.
        sigma: px.
    """

    pixels: Tensor = tensor("N 2", unit="px")
    valid: Tensor = tensor("")
    vertices: Tensor = static(default=torch.zeros(0, dtype=torch.long))
    stage: Literal["head", "hands"] = static(default="hands")
    sigma: float = static(default=3.0)


class DenseCost:
    """The dense term of one stage.

    Args:
        body: whose vertices they are.
        targets: of all stages; only `stage`'s count.
        stage: its name.
        device: where it works.
    """

    def __init__(
        self, body: Body, targets: Sequence[DenseTarget], stage: str, device: torch.device | str
    ) -> None:
        self.targets = [target.to(device) for target in targets if target.stage == stage]
        self.rigs = [
            BatchRig(body, PointRig.of_vertices(body, target.vertices.cpu()), device)
            for target in self.targets
        ]

    def __call__(self, states: FrameStates, focal: float, centre: Tensor) -> Tensor | float:
        """Returns the cost [T], 0.0 where the stage has no dense target."""
        total: Tensor | float = 0.0
        for target, rig in zip(self.targets, self.rigs, strict=True):
            px, _ = project(rig(states)[0], focal, centre)
            squares = ((px - target.pixels) / target.sigma).square().sum(-1)
            total = total + _COUNT * target.valid * geman_mcclure(squares, 10.0).mean(-1)
        return total
