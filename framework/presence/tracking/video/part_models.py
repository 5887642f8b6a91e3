"""`PartModels`: FLAME and MANO over a video, from the frames in which they were estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.flame import NUM_SHAPE
from presence.structures import PartModel
from presence.tracking.fusing.dense_models import DenseModels
from presence.tracking.refinement.dense import DenseTarget
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack, refine_flame_head
from presence.tracking.refinement.posing import FrameStates
from presence.tracking.video.shape import VideoShape

Found = Mapping[str, PartModel]
"""Part to what its own estimator found in one frame, px of the working copy."""
Heads = tuple[FlameHead, FlameTrack]
"""The body with FLAME's head, and what FLAME tracking found of some frames."""


class PartModels:
    """What the head and hand stages of a video take from FLAME and MANO.

    Args:
        body: that is tracked.
        others: estimators beside MediaPipe; without any there is nothing to take.
    """

    def __init__(self, body: Body, others: Sequence[str]) -> None:
        self.body = body
        self.models = DenseModels.find(body) if others else DenseModels(None, None, {})

    @property
    def names(self) -> list[str]:
        """The models that are there; a run depends on them."""
        there = {"flame": self.models.flame, "mano": self.models.mano}
        return [name for name, model in there.items() if model is not None]

    def mean_head(self) -> Tensor | None:
        """Returns the shape [S] of FLAME's mean head, None without FLAME."""
        return None if self.models.flame is None else torch.zeros(NUM_SHAPE)

    def heads(self, found: Sequence[Found]) -> Heads | None:
        """Returns FLAME's head and its track of T frames; None where it was found in none.

        Args:
            found: [T] of the frames.
        """
        return self.models.head(self.body, found, 1.0)[0]

    def shape(
        self, states: FrameStates, heads: Heads | None, focal: float, size: tuple[int, int]
    ) -> VideoShape:
        """Returns the person's shape, one for all frames: the states', and FLAME's if there is one.

        Where FLAME was tracked in none of the frames, others of the video may still show it: the
        mean head does for a shape, and the head that is delivered is the body's own.

        Args:
            states: [T] refined, on any device.
            heads: of the same frames.
            focal: px.
            size: width and height, px.
        """
        betas = states.betas.cpu()
        if heads is None:
            return VideoShape(betas, self.mean_head())
        (head, track), device = heads, states.rotations.device
        _, found = refine_flame_head(head.to(device), states, track.to(device), focal, size)
        shape = found.shape.cpu()
        affine = head.affine(betas, shape)  # as the chunks will have it
        return VideoShape(betas, shape, head.offsets(betas, shape, affine))

    def of_chunk(
        self, found: Mapping[int, Found], count: int, shape: Tensor | None
    ) -> tuple[Heads | None, list[DenseTarget]]:
        """Returns FLAME's head and the hands' dense targets of a chunk, as the stages take them.

        Args:
            found: frame of the chunk to what was found in it; the others weigh nothing.
            count: T, frames of the chunk.
            shape: [S] FLAME's of the person.
        """
        frames = [found.get(number, {}) for number in range(count)]
        flame, _ = self.models.head(self.body, frames, 1.0, shape)
        return flame, self.models.targets(frames, 1.0)
