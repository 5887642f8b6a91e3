"""`VideoShape`: what all frames of a video share of the person's shape."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor

from presence.tracking.video.parts import PartStore

_HEAD, _OFFSETS = "head_shape", "offsets"


@dataclasses.dataclass(frozen=True)
class VideoShape:
    """One person's shape, on the CPU.

    Attributes:
        betas: [S] the body's.
        head: [S] FLAME's, where there is a FLAME.
        offsets: [V 3] metres, FLAME's head beyond the body's shape; None where FLAME was found in
            none of the frames that the shape comes from.
    """

    betas: Tensor
    head: Tensor | None = None
    offsets: Tensor | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what the tracking file holds of it."""
        named = {"betas": self.betas, "offsets": self.offsets}
        return {name: value.numpy() for name, value in named.items() if value is not None}

    @classmethod
    def stored(cls, store: PartStore) -> VideoShape | None:
        """Returns what a run that was stopped has found, None where it had not."""
        betas = store.shape()  # written last
        return None if betas is None else cls(betas, store.shape(_HEAD), store.shape(_OFFSETS))

    def keep(self, store: PartStore) -> None:
        """Writes it down for a run that goes on."""
        for name, value in ((_HEAD, self.head), (_OFFSETS, self.offsets)):
            if value is not None:
                store.set_shape(value, name)
        store.set_shape(self.betas)
