"""Data sets inside data sets: building them, and taking samples by their place in the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from presence.engine.seed import mix
from presence.errors import ConfigError
from presence.registry import DATASETS
from presence.structures import TrainSample, cat, stack

_READERS = 8  # threads that read pictures: decoding releases Python's lock


def build_nested(source: Any, **collaborators: Any) -> Any:
    """Returns the data set that a data set wraps: `source` itself, or built from its config."""
    return DATASETS.build(source, **collaborators) if isinstance(source, Mapping) else source


def take(
    source: Any,
    first: int,
    count: int,
    device: torch.device | str,
    *,
    step: int = 0,
    seed: int = 0,
) -> TrainSample:
    """Returns samples `first` to `first + count` - 1 of a source's endless training sequence.

    The sequence of a source that has `span(first, count, device, step=)` is its own; that of one
    that only has `batch` is its batches of one; a map-style source is shuffled anew in every
    pass. Nothing but the arguments decides.

    Args:
        source: any data set.
        first: position in the sequence.
        count: samples wanted, at least 1.
        device: where they go.
        step: number of the training step, for sources that change with it.
        seed: of the shuffling.
    """
    if hasattr(source, "span"):
        return source.span(first, count, device, step=step)
    if hasattr(source, "batch"):
        ones = [source.batch(position, 1, device) for position in range(first, first + count)]
        return cat(ones)
    indices = shuffled(len(source), first, count, seed)
    if count == 1:
        return source[indices[0]].unsqueeze().to(device)
    with ThreadPoolExecutor(min(count, _READERS)) as pool:
        return stack(list(pool.map(source.__getitem__, indices))).to(device)


def shuffled(length: int, first: int, count: int, seed: int = 0) -> list[int]:
    """Returns `count` indices from position `first` of an endless shuffling of `length` items.

    Example:
        >>> sorted(shuffled(5, 10, 5))
        [0, 1, 2, 3, 4]
    """
    if length < 1:
        raise ConfigError("a data set to train on is empty")
    result: list[int] = []
    while len(result) < count:
        epoch, offset = divmod(first + len(result), length)
        generator = np.random.Generator(np.random.Philox(mix(seed, epoch)))
        order = generator.permutation(length)
        result += order[offset : offset + count - len(result)].tolist()
    return result
