"""`StagePoints`: a stage's landmarks, each where the network that saw it means it, and outline."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies import Body
from presence.tracking.landmarks import PointRig
from presence.tracking.refinement.evidence import ROWS
from presence.tracking.refinement.posing import BatchRig, FrameStates
from presence.tracking.sapiens_points import JOINTS_OF


class StagePoints:
    """Poses a stage's points for T frames that may differ in whose landmarks they have.

    MediaPipe and Sapiens mean different points by one name, such as a hip. Both are posed in all
    frames, and each frame's landmark is one of them: terms over time see the same points
    throughout, so that a change of networks is no motion. Where no frame has a landmark of
    Sapiens, nothing but MediaPipe's is posed.

    Args:
        body: whose joints are used.
        rig: [K + O] MediaPipe's landmarks, and the outline.
        centres: [K] landmarks where Sapiens means them.
        chosen: [M] landmark rows of the stage.
        outline: [N] rows of the rig.
        taken: [T K] 1 where a frame's landmark is Sapiens'.
        device: where it works.
    """

    def __init__(
        self,
        body: Body,
        rig: PointRig,
        centres: PointRig,
        chosen: Tensor,
        outline: Tensor,
        taken: Tensor,
        device: torch.device | str,
    ) -> None:
        members = torch.cat([chosen, outline])
        self.count = len(members)
        here = taken.cpu()[:, chosen] > 0
        moved = (here.any(0) & torch.isin(chosen, _joint_rows())).nonzero()[:, 0]  # [V]
        rigs = [rig[members], centres[chosen[moved]]] if len(moved) else [rig[members]]
        self.rig = BatchRig(body, PointRig.concatenate(rigs), device)
        self.place: Tensor | None = None  # [T M] of each landmark among the posed points
        if len(moved):
            place = torch.arange(len(chosen)).expand(here.shape).clone()
            other = self.count + torch.arange(len(moved))
            place[:, moved] = torch.where(here[:, moved], other, place[:, moved])
            self.place = place.to(device)

    def __call__(self, states: FrameStates) -> tuple[Tensor, Tensor, Tensor]:
        """Returns all points [T M+N+V 3], joints [T 55 3] (m) and joint rotations [T 55 3 3]."""
        return self.rig(states)

    def meant(self, values: Tensor) -> Tensor:
        """Returns the landmarks' values [T M+ ...] in each frame, landmarks first.

        Args:
            values: [T M+N+V 2 or 3] of all points.
        """
        if self.place is None:
            return values
        return values.gather(1, self.place[..., None].expand(-1, -1, values.shape[-1]))

    def carried(self, values: Tensor) -> Tensor:
        """Returns the values [T M+N ...] of the points that are the same in all frames.

        Args:
            values: [T M+N+V ...] of all points.
        """
        return values if self.place is None else values[:, : self.count]


def _joint_rows() -> Tensor:
    """Returns the rows among all K landmarks that Sapiens sees in the middle of joints."""
    rows = [ROWS[name].start + row for name, joints in JOINTS_OF.items() for row in joints]
    return torch.tensor(rows)
