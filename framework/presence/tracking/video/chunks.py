"""Which frames are worked on together, which of them are kept, and which only give context."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

HELD = 2  # second differences reach two frames back


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Frames [first, stop) that are refined together.

    Attributes:
        number: of the chunk.
        held: so many frames at its beginning are known from the chunk before, and stay.
        first: first frame, a held one where there are any.
        kept: the frame behind the last one whose result counts.
        stop: the frame behind the last one; those from `kept` on are looked at ahead, so that the
            end of what counts is as smooth as its middle, and done again in the next chunk.
    """

    number: int
    held: int
    first: int
    kept: int
    stop: int

    @property
    def fresh(self) -> int:
        """The first frame that is not held."""
        return self.first + self.held


def plan_chunks(frames: int, length: int = 48, ahead: int = 8) -> Iterator[Chunk]:
    """Divides a video.

    Args:
        frames: of the video.
        length: frames that count in each chunk.
        ahead: frames that are looked at beyond them.

    Example:
        >>> [(c.first, c.kept, c.stop) for c in plan_chunks(10, length=4, ahead=2)]
        [(0, 4, 6), (2, 8, 10), (6, 10, 10)]
    """
    for number, fresh in enumerate(range(0, frames, length)):
        held = min(HELD, fresh)
        kept = min(fresh + length, frames)
        yield Chunk(number, held, fresh - held, kept, min(kept + ahead, frames))
