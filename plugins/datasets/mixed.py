"""Several data sets as one, taking turns by weight (paper 3.2: rendered and generated data)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from presence.datasets import Interleaving
from presence.datasets.sources import build_nested, take
from presence.engine.seed import mix
from presence.errors import ConfigError, did_you_mean
from presence.interfaces import Body, SampleSource
from presence.registry import DATASETS
from presence.structures import TrainSample, cat


@DATASETS.register()
class MixedDataset(SampleSource):
    """Samples of several data sets in exact shares, at any step and over any number of processes.

    What a batch holds is a function of (seed, step, process), so a resumed run continues with
    the samples that it would have seen. Within a batch, samples lie in the order of the sources.

    Args:
        sources: name to data set, or to its config `dict(type=..., ...)`; or a list of them.
        weights: share of each source in the samples, of any sum, by name or in the list's order;
            equal if None. A source of weight 0 is not even built.
        seed: of the order.
        block: the shares are exact in every run of this many samples.
        body: handed to sources that ask for it.
        device: handed to sources that ask for it.

    Raises:
        ConfigError: weights and sources do not fit.

    Example:
        >>> from presence.testing.toy_training import ToyPeople
        >>> mixed = MixedDataset([ToyPeople(), ToyPeople(first_seed=50)], weights=[3, 1], block=4)
        >>> (mixed.batch(0, 4, "cpu").subject > 0).sum().item()
        4
    """

    def __init__(
        self,
        sources: Mapping[str, Any] | Sequence[Any],
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        seed: int = 0,
        block: int = 1000,
        body: Body | str = "annyx",
        device: str = "cpu",
    ) -> None:
        used = [pair for pair in _paired(sources, weights) if pair[1]]
        self.sources = [build_nested(source, body=body, device=device) for source, _ in used]
        self.turns = Interleaving([weight for _, weight in used], seed=seed, block=block)
        self.seed = seed

    def __len__(self) -> int:
        """Returns the number of samples of all sources together."""
        return sum(len(source) for source in self.sources)

    def __getitem__(self, index: int) -> TrainSample:
        """Returns sample `index`: the sources take turns by weight, each in its own order.

        A source that is over starts again, so for validation give equal shares of what there is.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        number = self.turns.source(index)
        item, _ = self.turns.spans(index, 1)[number]
        return self.sources[number][item % len(self.sources[number])]

    def batch(
        self,
        step: int,
        batch_size: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> TrainSample:
        """Makes the batch of one training step; see `presence.engine.data.BatchSource`."""
        first = (step * world + rank) * batch_size
        return self.span(first, batch_size, device, step=step)

    def span(
        self, first: int, count: int, device: torch.device | str, *, step: int = 0
    ) -> TrainSample:
        """Returns samples `first` to `first + count` - 1 of the training sequence.

        Raises:
            ConfigError: the sources' pictures differ in size.
        """
        parts = []
        for number, (start, amount) in enumerate(self.turns.spans(first, count)):
            if amount:
                seed = mix(self.seed, number)
                source = self.sources[number]
                parts.append(take(source, start, amount, device, step=step, seed=seed))
        sizes = {part.reference.portrait.size for part in parts}
        if len(sizes) > 1:
            raise ConfigError(f"mixed data sets need pictures of one size, got {sorted(sizes)}")
        return parts[0] if len(parts) == 1 else cat(parts)


def _paired(
    sources: Mapping[str, Any] | Sequence[Any],
    weights: Mapping[str, float] | Sequence[float] | None,
) -> list[tuple[Any, float]]:
    """Each source with its weight, both in the order of the sources."""
    if isinstance(sources, Mapping) and isinstance(weights, Mapping):
        for name in weights:
            if name not in sources:
                raise ConfigError(
                    f"MixedDataset has a weight for `{name}`, which is not a source."
                    f"{did_you_mean(name, sources)} Sources: {', '.join(sources)}."
                )
        weights = [weights.get(name, 1.0) for name in sources]
    elif isinstance(weights, Mapping):
        raise ConfigError("MixedDataset has weights by name, so its sources need names too")
    values = list(sources.values()) if isinstance(sources, Mapping) else list(sources)
    numbers = [1.0] * len(values) if weights is None else [float(weight) for weight in weights]
    if not values or len(numbers) != len(values):
        raise ConfigError(
            f"MixedDataset needs a weight for each source: {len(values)} sources, "
            f"{len(numbers)} weights"
        )
    return list(zip(values, numbers))
