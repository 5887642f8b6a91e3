"""Held-out subjects for a sweep: any data set by index, made in blocks where it can be."""

from __future__ import annotations

from typing import Any

import torch

from presence.interfaces import SampleSource
from presence.structures import TrainSample, stack


class Blocks(SampleSource):
    """Samples by index that are made many at a time on the device.

    Making one procedural person keeps a GPU as busy as making a dozen; sources that have
    `span(first, count, device)` are asked for blocks, others for one sample after another.

    Args:
        source: the data set.
        size: samples a block; the last block is kept.
        device: where samples are made.

    Example:
        >>> from presence.testing.toy_training import ToyPeople
        >>> blocks = Blocks(ToyPeople(3), size=2)
        >>> [int(blocks[i].subject) for i in range(len(blocks))]
        [0, 1, 2]
    """

    def __init__(self, source: Any, *, size: int = 10, device: torch.device | str = "cpu") -> None:
        self._source, self._size, self._device = source, size, torch.device(device)
        self._first = -1
        self._block: TrainSample | None = None

    def __len__(self) -> int:
        """Returns the number of samples of the source."""
        return len(self._source)

    def __getitem__(self, index: int) -> TrainSample:
        """Returns sample `index` of the source."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        first = index - index % self._size
        if first != self._first:
            self._block = None  # both blocks at once would only hold memory
            self._block, self._first = self._make(first), first
        assert self._block is not None
        return self._block[index - first]

    def _make(self, first: int) -> TrainSample:
        count = min(self._size, len(self) - first)
        if hasattr(self._source, "span"):
            return self._source.span(first, count, self._device)
        return stack([self._source[first + i] for i in range(count)]).to(self._device)
