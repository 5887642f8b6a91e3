"""`carried_over`: what FLAME changed in some frames of a video, given to those between them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from presence.tracking.refinement.flame_head import MOVED
from presence.tracking.refinement.posing import FrameStates


def carried_over(
    before: FrameStates, found: FrameStates, expression: Tensor, valid: Tensor
) -> FrameStates:
    """Gives frames between those with FLAME what it changed there.

    A video's FLAME is estimated in some frames. What it changes of the head's pose and place, of
    jaw, eyes and expression would come and go with them; in between, the change is interpolated,
    on top of what the face points show.

    Args:
        before: T frames before FLAME's stage.
        found: the same after it.
        expression: [T E] FLAME's in the body's own coefficients.
        valid: [T] 1 in frames with FLAME. Before the first and after the last, `found` stays.
    """
    rows = torch.tensor(MOVED, device=valid.device)
    old, new = before.rotations[:, rows], found.rotations[:, rows]
    turned = matrix_to_axis_angle(new @ old.mT)
    turned = between_valid(turned.flatten(1), valid).view_as(turned)
    place = before.translation + between_valid(found.translation - before.translation, valid)
    own = found.expression
    numbers, known = torch.arange(len(valid), device=valid.device), valid.nonzero()[:, 0]
    filled = (numbers > known[0]) & (numbers < known[-1]) & (valid <= 0)
    joined = torch.where(filled[:, None, None, None], axis_angle_to_matrix(turned) @ old, new)
    return dataclasses.replace(
        found,
        rotations=found.rotations.index_copy(1, rows, joined),
        translation=torch.where(filled[:, None], place, found.translation),
        expression=own + between_valid(expression - own, valid),
    )


def between_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Fills rows [T D] between valid ones linearly; zero before the first and after the last.

    Args:
        values: [T D].
        valid: [T] above 0 in at least one row.

    Example:
        >>> values = torch.tensor([9.0, 2.0, 9.0, 4.0, 9.0])[:, None]
        >>> between_valid(values, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])).flatten().tolist()
        [0.0, 2.0, 3.0, 4.0, 0.0]
    """
    known = valid.nonzero()[:, 0]
    frames = torch.arange(len(values), device=values.device)
    after = torch.searchsorted(known, frames).clamp(max=len(known) - 1)
    before = (after - (frames < known[after]).long()).clamp_min(0)
    span = (known[after] - known[before]).clamp_min(1)
    share = ((frames - known[before]) / span)[:, None]
    filled = torch.lerp(values[known[before]], values[known[after]], share.to(values))
    inside = (frames >= known[0]) & (frames <= known[-1])
    return filled * inside[:, None]
