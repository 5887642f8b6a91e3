"""Another data set with some of its views cropped to the head."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from presence.datasets import HeadWindows, crop_view
from presence.datasets.sources import build_nested, take
from presence.engine.seed import mix
from presence.errors import ConfigError
from presence.interfaces import Body, SampleSource
from presence.registry import DATASETS
from presence.structures import Portrait, TrainSample, View

_PARTS = 2**24


@DATASETS.register()
class HeadCrops(SampleSource):
    """Crops a share of the references, or of the targets, to a window around the head.

    A cropped reference is a head-only portrait, which makes the model robust to framing; a
    cropped target puts the image loss' pixels on the face. Pictures have to be square, and keep
    their size. Whether a sample is cropped depends on its number and `seed` alone.

    Args:
        source: the data set, or its config.
        reference: share of the references that are cropped*.
        target: share of the targets that are cropped*.
        margin: space around the head, in head sizes*.
        smallest: side of a window at least, as a share of the picture*.
        seed: of the choice.
        body: body model, or its name or file for `presence.bodies.load_body`.
        device: for data sets that make their samples.

    Raises:
        ConfigError: a share is outside 0..1.
    """

    def __init__(
        self,
        source: Any,
        *,
        reference: float = 0.0,
        target: float = 0.3,
        margin: float = 0.35,
        smallest: float = 0.2,
        seed: int = 0,
        body: Body | str = "annyx",
        device: str = "cpu",
    ) -> None:
        for name, share in (("reference", reference), ("target", target)):
            if not 0 <= share <= 1:
                raise ConfigError(f"HeadCrops.{name} should be a share in 0..1, got {share:g}")
        self.source = build_nested(source, body=body, device=device)
        self.shares = {"reference": reference, "target": target}
        self.margin, self.smallest, self.seed = margin, smallest, seed
        self._body = body
        self._windows: dict[torch.device, HeadWindows] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the posed bodies out: another process builds its own."""
        return {**self.__dict__, "_windows": {}}

    def __len__(self) -> int:
        """Returns the number of samples of the source."""
        return len(self.source)

    def __getitem__(self, index: int) -> TrainSample:
        """Returns sample `index` of the source, cropped or not, the same every time."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        return self._crop(self.source[index].unsqueeze(), index)[0]

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
        """Returns samples `first` to `first + count` - 1 of the training sequence."""
        return self._crop(take(self.source, first, count, device, step=step), first)

    def _crop(self, sample: TrainSample, first: int) -> TrainSample:
        changes = {}
        for salt, (name, share) in enumerate(self.shares.items()):
            numbers = range(first, first + sample.batch_shape[0])
            draws = [mix(self.seed, salt, n) % _PARTS < share * _PARTS for n in numbers]
            chosen = torch.tensor(draws, device=sample.device)
            if any(draws):
                changes[name] = self._cropped(getattr(sample, name), chosen)
        return sample.replace(**changes)

    def _cropped(self, view: View, chosen: Tensor) -> View:
        height, width = view.portrait.size
        if height != width:
            raise ConfigError(f"HeadCrops needs square pictures, got {width} x {height}")
        windows, usable = self._find(view.device)(view)
        picked = (chosen & usable).nonzero()[:, 0]
        if not len(picked):
            return view
        crops = crop_view(view[picked], windows[picked])
        portrait = Portrait(
            view.portrait.rgb.index_copy(0, picked, crops.portrait.rgb),
            view.portrait.alpha.index_copy(0, picked, crops.portrait.alpha),
        )
        K = view.camera.K.index_copy(0, picked, crops.camera.K)
        return view.replace(portrait=portrait, camera=view.camera.replace(K=K))

    def _find(self, device: torch.device) -> HeadWindows:
        if device not in self._windows:
            from presence.bodies import load_body

            # Moved to the device, so a body that others use must not be moved along.
            own = load_body(self._body) if isinstance(self._body, str) else self._body
            windows = HeadWindows(copy.deepcopy(own), margin=self.margin, smallest=self.smallest)
            self._windows[device] = windows.to(device)
        return self._windows[device]
