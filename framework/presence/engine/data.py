"""Batches as a function of the step: made on the device, or read through torch's DataLoader.

A loader can start at any step, so a resumed run sees the data it would have seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from presence.engine.producer import produced_batches
from presence.engine.seed import mix
from presence.errors import ConfigError
from presence.interfaces import SampleSource
from presence.structures import TrainSample, stack


@runtime_checkable
class BatchSource(Protocol):
    """A source that makes whole batches on the device, such as procedural people."""

    def batch(
        self, step: int, batch_size: int, device: torch.device, rank: int = 0, world: int = 1
    ) -> TrainSample:
        """Returns batch number `step` of process `rank` of `world`; the same one every time.

        It neither reads nor changes the global random state, as it may run in another thread.
        """


class BatchLoader:
    """Hands out the batches of a `BatchSource`; mmengine's loops take it for a data loader.

    Args:
        source: makes the batches.
        batch_size: samples in each.
        device: where they are made.
        rank: number of this process.
        world: number of processes.
        prefetch: make the next batches while the current one is used: in a second thread on the
            CPU, in a process of its own on CUDA (see `presence.engine.producer`).
    """

    def __init__(
        self,
        source: BatchSource,
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        *,
        prefetch: bool = False,
    ) -> None:
        self.dataset, self.batch_size, self.prefetch = source, batch_size, prefetch
        self._device, self._rank, self._world = device, rank, world

    def iterate(self, start: int = 0) -> Iterator[TrainSample]:
        """Yields batches for ever, from step `start` on."""
        if not self.prefetch:
            yield from map(self._make, itertools.count(start))
        if self._device.type == "cuda":
            yield from produced_batches(
                self.dataset, self.batch_size, self._device, self._rank, self._world, start
            )
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
            coming = pool.submit(self._make, start)
            for step in itertools.count(start + 1):
                sample, coming = coming.result(), pool.submit(self._make, step)
                yield sample

    def _make(self, step: int) -> TrainSample:
        return self.dataset.batch(
            step, self.batch_size, self._device, rank=self._rank, world=self._world
        )


class IndexLoader:
    """Reads a map-style data set in worker processes, shuffled, from any step on.

    Args:
        dataset: gives one sample an index.
        batch_size: samples a batch.
        device: where batches are moved to.
        rank: number of this process.
        world: number of processes.
        seed: of the shuffling.
        workers: DataLoader processes, 0 to read in this one.
    """

    def __init__(
        self,
        dataset: SampleSource,
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        *,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        if len(dataset) < 1:
            raise ConfigError("the training data set is empty")
        self.dataset, self.batch_size = dataset, batch_size
        self._device, self._rank, self._world = device, rank, world
        self._seed, self._workers = seed, workers

    def iterate(self, start: int = 0) -> Iterator[TrainSample]:
        """Yields batches for ever, from step `start` on."""
        sampler = StepBatchSampler(
            len(self.dataset),
            self.batch_size,
            seed=self._seed,
            rank=self._rank,
            world=self._world,
            start=start,
        )
        loader: DataLoader = DataLoader(
            self.dataset,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=stack,
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            persistent_workers=self._workers > 0,
        )
        for sample in loader:
            yield sample.to(self._device, non_blocking=True)


class StepBatchSampler(Sampler[list[int]]):
    """Endless batches of shuffled indices, where batch `step` depends on nothing but the step.

    Every pass over the data is a new permutation; batches run across its end, so that all of
    them are full. The processes share a pass without overlap.

    Args:
        length: samples in the data set.
        batch_size: indices a batch.
        seed: of the shuffling.
        rank: number of this process.
        world: number of processes.
        start: first step.

    Example:
        >>> next(iter(StepBatchSampler(4, 2, start=7))) == list(
        ...     __import__("itertools").islice(StepBatchSampler(4, 2), 8))[-1]
        True
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world, self.start = rank, world, start

    def __iter__(self) -> Iterator[list[int]]:
        step, order, current = self.start, np.empty(0, np.int64), -1
        while True:
            first = (step * self.world + self.rank) * self.batch_size
            batch = []
            for position in range(first, first + self.batch_size):
                epoch, offset = divmod(position, self.length)
                if epoch != current:
                    order, current = self._permutation(epoch), epoch
                batch.append(int(order[offset]))
            yield batch
            step += 1

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.Philox(mix(self.seed, epoch))).permutation(self.length)


class RememberedSource:
    """Keeps the first samples of a source in memory: validation asks for the same ones again.

    Args:
        source: gives samples by index.
        limit: how many to keep.
    """

    def __init__(self, source: SampleSource, limit: int = 64) -> None:
        self._source, self._limit = source, limit
        self._kept: dict[int, TrainSample] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> TrainSample:
        if index not in self._kept:
            sample = self._source[index]
            if not 0 <= index < self._limit:
                return sample
            self._kept[index] = sample
        return self._kept[index]


def build_loader(
    source: Any,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
    *,
    seed: int = 0,
    workers: int = 0,
    prefetch: bool = False,
) -> BatchLoader | IndexLoader:
    """Returns the loader that fits a source: one that makes batches, or a map-style data set.

    Raises:
        ConfigError: the source is neither.
    """
    if isinstance(source, BatchSource):
        return BatchLoader(source, batch_size, device, rank, world, prefetch=prefetch)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return IndexLoader(source, batch_size, device, rank, world, seed=seed, workers=workers)
    raise ConfigError(
        f"dataset `{type(source).__name__}` has neither `batch(step, batch_size, device, rank, "
        "world)` nor `__getitem__` and `__len__`"
    )


def fixed_batches(
    source: Any, indices: Sequence[int], batch_size: int, device: torch.device
) -> Iterator[TrainSample]:
    """Yields the samples of the given indices in batches, in order, on the device."""
    for first in range(0, len(indices), batch_size):
        samples = [source[index] for index in indices[first : first + batch_size]]
        yield stack(samples).to(device)
