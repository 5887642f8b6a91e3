"""Procedural people as a data set: by index, or batch by batch on the training device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch

from presence.datasets import exchange_views
from presence.interfaces import Body, SampleSource
from presence.registry import DATASETS
from presence.structures import TrainSample
from presence.synthesis import FIRST_SEED, ProceduralPeople


@DATASETS.register()
class ProceduralPeopleDataset(SampleSource):
    """Reference-target pairs of generated people; nothing is stored, every sample is a seed.

    Training uses seeds from 1,000,000, validation from 500,000, tests from 0 to 99,999, so the
    three never share a person.

    Args:
        num_subjects: length when asked by index.
        split: which range of seeds to use.
        first_seed: start elsewhere than the split does.
        finite: batches too use the first `num_subjects` people only, over and over, instead of
            new ones for ever; to study how much data is needed.
        size: side of the square pictures, or their (height, width), px.
        growing: (first step, side) pairs, in order: batches from that step on have that side
            instead of `size`; small pictures first learn the same for less.
        body: body model, or its name or file for `presence.bodies.load_body`.
        framings: weights of "head", "half", "full" and "any"; half-body dominated if None.
        target_yaw_range: turn between the two views in degrees, either way round; a broad
            mixture if None. The benchmark protocol uses (30, 60).
        repose_probability: share of pairs whose target has another pose and expression.
        background: "random", or "black", "grey", "white" for all.
        supersample: samples along a pixel's side.
        reuse: training steps in a row that see the same people; every second time their two
            views change places, where the second shows the face: making people costs as much
            as learning from them.
        device: where samples asked for by index are made; they are returned on the CPU.
        options: further options of `ProceduralPeople`.

    Example:
        >>> data = ProceduralPeopleDataset(num_subjects=2, split="test", size=32)
        >>> data[1].target.portrait.alpha.shape
        torch.Size([1, 32, 32])
    """

    def __init__(
        self,
        num_subjects: int = 1000,
        *,
        split: Literal["train", "val", "test"] = "train",
        first_seed: int | None = None,
        finite: bool = False,
        size: int | Sequence[int] = 384,
        growing: Sequence[Sequence[int]] = (),
        body: Body | str = "annyx",
        framings: dict[str, float] | None = None,
        target_yaw_range: Sequence[float] | None = None,
        repose_probability: float = 0.0,
        background: Literal["random", "black", "grey", "white"] = "random",
        supersample: int = 2,
        reuse: int = 1,
        device: str = "cpu",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.num_subjects, self.finite = num_subjects, finite
        self.first_seed = FIRST_SEED[split] if first_seed is None else first_seed
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.growing = [(int(first), int(side)) for first, side in growing]
        self.device, self.reuse = device, reuse
        self._made: tuple[tuple, TrainSample] | None = None
        self._body = body
        self._options: dict[str, Any] = dict(
            framings=None if framings is None else dict(framings),
            repose_probability=repose_probability,
            background=background,
            supersample=supersample,
            **(options or {}),
        )
        if target_yaw_range is not None:
            self._options["target_yaw"] = ((1.0, *(float(end) for end in target_yaw_range)),)
        self._people: dict[torch.device, ProceduralPeople] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the generators out: another process builds its own."""
        return {**self.__dict__, "_people": {}, "_made": None}

    def __len__(self) -> int:
        """Returns the number of subjects that can be asked for by index."""
        return self.num_subjects

    def __getitem__(self, index: int) -> TrainSample:
        """Returns the pair of subject `index` on the CPU, the same one every time.

        Raises:
            IndexError: `index` is outside the data set.
        """
        if not -self.num_subjects <= index < self.num_subjects:
            raise IndexError(f"subject {index} of {self.num_subjects}")
        seed = self.first_seed + index % self.num_subjects
        return self.people(self.device).generate([seed], size=self.size)[0].to("cpu")

    def batch(
        self,
        step: int,
        batch_size: int,
        device: torch.device | str | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> TrainSample:
        """Makes the pairs of one training step on the device; no two steps share a person.

        (Unless `finite` people have all been used, or `reuse` asks for it.)

        Args:
            step: number of the step, from 0; with the other arguments it fixes the seeds.
            batch_size: pairs for this rank.
            device: where to make them; the data set's own device if None.
            rank: of this process.
            world: number of processes.
        """
        turn, again = divmod(step, self.reuse)
        first = (turn * world + rank) * batch_size
        sample = self._remembered(first, batch_size, device or self.device, step)
        return exchange_views(sample) if again % 2 else sample

    def _remembered(
        self, first: int, count: int, device: torch.device | str, step: int
    ) -> TrainSample:
        """`span`, which is not repeated while `reuse` asks for the same people."""
        if self.reuse == 1:
            return self.span(first, count, device, step=step)
        key = (first, count, str(device), self._side(step))
        if self._made is None or self._made[0] != key:
            self._made = key, self.span(first, count, device, step=step)
        return self._made[1]

    def span(
        self, first: int, count: int, device: torch.device | str, *, step: int = 0
    ) -> TrainSample:
        """Makes pairs `first` to `first + count` - 1 of the training sequence.

        Args:
            first: position in the sequence; position 0 is the split's first seed.
            count: pairs.
            device: where to make them.
            step: number of the training step, for `growing` pictures.
        """
        numbers = range(first, first + count)
        seeds = [self.first_seed + (n % self.num_subjects if self.finite else n) for n in numbers]
        return self.people(device).generate(seeds, size=self._side(step))

    def _side(self, step: int) -> tuple[int, int]:
        """Returns the height and width of a step's pictures, px."""
        size = self.size
        for since, side in self.growing:
            if step >= since:
                size = (side, side)
        return size

    def people(self, device: torch.device | str) -> ProceduralPeople:
        """Returns the generator for a device, built when first asked for."""
        key = torch.device(device)
        if key not in self._people:
            self._people[key] = self._build().to(key)
        return self._people[key]

    def _build(self) -> ProceduralPeople:
        from presence.bodies import load_body
        from presence.rasterize import build_rasterizer

        # Moved to a device later, so a body that others use must not be moved along.
        body = load_body(self._body) if isinstance(self._body, str) else copy.deepcopy(self._body)
        return ProceduralPeople(body.to("cpu"), build_rasterizer("auto"), **self._options)
