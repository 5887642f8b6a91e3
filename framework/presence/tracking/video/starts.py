"""Where the frames of a chunk start: single fits at some frames, and rotations between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from presence.geometry import axis_angle_to_matrix
from presence.motion.clip import slerp
from presence.structures import BodyParams
from presence.tracking.refinement.posing import FrameStates


def keyframes(found: Sequence[bool], first: int, step: int) -> list[int]:
    """Returns the frames to fit alone: from `first` on, about every `step`-th with a person.

    The last frame with a person is always one, so that nothing is extrapolated.

    Example:
        >>> keyframes([True, False, False, True, True, True, True], 0, 3)
        [0, 3, 6]
    """
    there = [number for number in range(first, len(found)) if found[number]]
    chosen: list[int] = []
    for number in there:
        if not chosen or number >= chosen[-1] + step:
            chosen.append(number)
    if there and there[-1] not in chosen:
        chosen.append(there[-1])
    return chosen


def between(
    keys: Mapping[int, BodyParams], count: int, betas: Tensor, offsets: Tensor | None = None
) -> FrameStates:
    """Fills the frames between keys: rotations on the shortest arc, everything else linearly.

    Args:
        keys: frame to unbatched parameters, at least one; before the first and after the last
            key its values are held.
        count: T.
        betas: [S] of all frames.
        offsets: [V 3] of all frames, see `BodyParams`.
    """
    numbers = sorted(keys)
    known = torch.tensor(numbers, dtype=torch.float32)
    frames = torch.arange(count, dtype=torch.float32)
    after = torch.searchsorted(known, frames).clamp(max=len(numbers) - 1)
    before = (after - (frames < known[after]).long()).clamp_min(0)
    span = (known[after] - known[before]).clamp_min(1.0)
    share = ((frames - known[before]) / span).clamp(0, 1)

    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(keys[number], name) for number in numbers])

    pose, place, face = stacked("pose"), stacked("translation"), stacked("expression")
    turned = slerp(pose[before], pose[after], share[:, None])
    return FrameStates(
        axis_angle_to_matrix(turned),
        torch.lerp(place[before], place[after], share[:, None]),
        betas,
        torch.lerp(face[before], face[after], share[:, None]),
        offsets,
    )
