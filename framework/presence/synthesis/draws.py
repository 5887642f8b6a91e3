"""Random numbers by name: each depends on the subject's seed and the quantity's name alone.

A stateful generator would make every quantity depend on all those drawn before it, and a batch
depend on its order. Here a number is an integer hash (splitmix64, Steele et al. 2014) of seed,
name and position, so a subject is the same in any batch, on any machine, and keeps its other
properties when a new one is added to the recipe.
"""

from __future__ import annotations

import copy
import threading
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambles arrays of 64-bit integers so that every output bit depends on every input bit."""
    values = values + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around silently, as they should
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_uniform(keys: NDArray[np.uint64]) -> Array:
    """Returns numbers in [0, 1) with 53 random bits each, one for every key."""
    return (splitmix64(keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class _Columns:
    """The names asked for so far in this process, so that a batch hashes all of them at once.

    It only saves time: a number is the same whether its name was known before or not.
    """

    def __init__(self) -> None:
        self.tags = np.zeros(0, np.uint64)
        self._places: dict[tuple[str, int], tuple[int, int]] = {}
        self._lock = threading.Lock()  # batches may be drawn ahead in another thread

    def place(self, name: str, size: int) -> tuple[int, int]:
        """Returns the first and past-the-last column of a name, a new one for a new name."""
        found = self._places.get((name, size))
        return found if found is not None else self._add(name, size)

    def _add(self, name: str, size: int) -> tuple[int, int]:
        with self._lock:
            if (name, size) not in self._places:
                first, count = len(self.tags), max(size, 1)
                tag = splitmix64(np.full(1, zlib.crc32(name.encode()), np.uint64))
                steps = np.arange(count, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95)
                self.tags = np.concatenate([self.tags, tag + steps])
                self._places[name, size] = (first, first + count)
            return self._places[name, size]


_COLUMNS = _Columns()


class Draws:
    """Named random quantities for a batch of subjects.

    Args:
        seeds: [B] integers; equal seeds give equal numbers in any batch.
        scope: prefix of every name, so that parts of a recipe cannot collide.

    Example:
        >>> one, two = Draws([7]), Draws([3, 7])
        >>> bool(one.uniform("height")[0] == two.uniform("height")[1])
        True
    """

    def __init__(self, seeds: Sequence[int] | NDArray[np.int64], scope: str = "") -> None:
        self.seeds = np.asarray(seeds, dtype=np.int64)
        self.scope = scope
        self._keys = splitmix64(self.seeds.astype(np.uint64))
        self._tables = [self._hashed(_COLUMNS.tags)]  # one list for all scopes of these seeds

    def scoped(self, scope: str) -> Draws:
        """Returns the same seeds with another prefix before every name."""
        child = copy.copy(self)
        child.scope = f"{self.scope}{scope}."
        return child

    def _hashed(self, tags: NDArray[np.uint64]) -> Array:
        return hash_uniform(self._keys[:, None] + tags[None])

    def _unit(self, name: str, size: int) -> Array:
        first, last = _COLUMNS.place(self.scope + name, size)
        if last > self._tables[0].shape[1]:
            new = self._hashed(_COLUMNS.tags[self._tables[0].shape[1] :])
            self._tables[0] = np.concatenate([self._tables[0], new], 1)
        return self._tables[0][:, first:last]

    def __len__(self) -> int:
        return len(self.seeds)

    def uniform(
        self, name: str, low: float | Array = 0.0, high: float | Array = 1.0, size: int = 0
    ) -> Array:
        """Draws uniform numbers.

        Args:
            name: what is drawn.
            low: lower end, a number or [B].
            high: upper end, a number or [B].
            size: numbers a subject; 0 gives [B], otherwise [B size].
        """
        unit = self._unit(name, size)  # [B max(size, 1)]
        if size == 0:
            return low + (high - low) * unit[:, 0]
        low, high = (end[:, None] if isinstance(end, np.ndarray) else end for end in (low, high))
        return low + (high - low) * unit

    def normal(self, name: str, std: float = 1.0, size: int = 0, limit: float = 2.5) -> Array:
        """Draws normal numbers, [B] or [B size], clipped at `limit` standard deviations."""
        first = self.uniform(name + "/radius", size=size)
        second = self.uniform(name + "/angle", size=size)
        unit = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)  # Box-Muller
        return std * np.clip(unit, -limit, limit)

    def chance(self, name: str, probability: float | Array) -> Mask:
        """Draws [B] booleans that are true with the given probability."""
        return self.uniform(name) < probability

    def choice(self, name: str, weights: Sequence[float] | Array) -> NDArray[np.int64]:
        """Draws [B] indices with probabilities proportional to `weights` ([n] or [B n])."""
        table = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        edges = np.cumsum(table, -1) / table.sum(-1, keepdims=True)
        picked = (self.uniform(name)[:, None] >= edges[:, :-1]).sum(-1)
        return picked.astype(np.int64)

    def mixture(self, name: str, parts: Sequence[tuple[float, float, float]]) -> Array:
        """Draws [B] from a mixture of uniforms, each given as (weight, low, high)."""
        picked = self.choice(name + "/part", [weight for weight, _, _ in parts])
        low = np.asarray([part[1] for part in parts])[picked]
        high = np.asarray([part[2] for part in parts])[picked]
        return self.uniform(name + "/value", low, high)
