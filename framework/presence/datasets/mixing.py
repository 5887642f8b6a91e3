"""In which order data sets take turns: exact shares, and a closed form for every position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from presence.engine.seed import mix
from presence.errors import ConfigError


class Interleaving:
    """An endless sequence of turns in which source k has its share w_k / sum w.

    Positions are grouped in blocks. Every block holds each source's exact count in a new random
    order, so the shares hold at any time and what a position is follows from its number alone:
    a resumed run needs no state.

    Args:
        weights: of the sources, positive or zero.
        seed: of the order.
        block: turns in a block; weights are rounded to multiples of 1 / block.

    Raises:
        ConfigError: no weight is positive, or one is negative or vanishes by rounding.

    Example:
        >>> turns = Interleaving([1.0, 3.0], block=8)
        >>> sorted(turns.source(position) for position in range(8, 16))
        [0, 0, 1, 1, 1, 1, 1, 1]
    """

    def __init__(self, weights: Sequence[float], *, seed: int = 0, block: int = 1000) -> None:
        total = float(sum(weights))
        if not total > 0 or min(weights) < 0 or total == float("inf"):
            raise ConfigError(f"weights should be 0 or more, with one above 0, got {list(weights)}")
        self.counts = _apportion([w / total for w in weights], block)
        for weight, count in zip(weights, self.counts):
            if weight and not count:
                raise ConfigError(f"weight {weight:g} of {total:g} is less than 1 / {block}")
        self.seed, self.block = seed, block
        self._order = np.repeat(np.arange(len(weights)), self.counts)
        self._kept: tuple[int, np.ndarray] = (-1, self._order)

    def source(self, position: int) -> int:
        """Returns whose turn position 0, 1, ... is."""
        return int(self._turns(position // self.block)[position % self.block])

    def spans(self, first: int, count: int) -> list[tuple[int, int]]:
        """Returns what each source contributes to positions `first` to `first + count` - 1.

        Returns:
            (its first item, number of items) for each source; the items of a source are numbered
            0, 1, ... over the whole sequence, so neighbouring windows take neighbouring items.
        """
        before, after = self._taken(first), self._taken(first + count)
        return [(int(b), int(a - b)) for b, a in zip(before, after)]

    def _taken(self, position: int) -> np.ndarray:
        """Items that each source has given before a position."""
        blocks, rest = divmod(position, self.block)
        started = self._turns(blocks)[:rest]
        return blocks * self.counts + np.bincount(started, minlength=len(self.counts))

    def _turns(self, block: int) -> np.ndarray:
        if self._kept[0] != block:
            generator = np.random.Generator(np.random.Philox(mix(self.seed, block)))
            self._kept = (block, generator.permutation(self._order))
        return self._kept[1]


def _apportion(shares: Sequence[float], block: int) -> np.ndarray:
    """Whole numbers near shares * block that sum to block (largest remainders)."""
    exact = np.asarray(shares, np.float64) * block
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = block - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts
