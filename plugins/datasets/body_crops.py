"""Random crops of the body around the head: what turns LHM's training into LHM-HF's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from presence.engine.seed import mix
from presence.interfaces import Body, SampleSource
from presence.projection.crops import crop_windows
from presence.registry import DATASETS
from presence.structures import Camera, Portrait, TrainSample, View


@DATASETS.register()
class BodyCropsDataset(SampleSource):
    """Another data set whose portraits show a random share of the person, from the head down.

    Only the reference view is cropped, picture and camera alike; the target stays whole, so a
    model learns to complete what the crop cut off. A sample's crop is a function of its subject.

    Args:
        dataset: the data set, or its config.
        body: handed on to the data set that is built from a config.
        device: handed on alike.
        probability: share of the samples that are cropped.
        share: smallest and largest share of the person's height in the picture that is kept.
        seed: of the crops.
    """

    def __init__(
        self,
        dataset: SampleSource | Mapping[str, Any],
        *,
        body: Body | None = None,
        device: str = "cpu",
        probability: float = 0.7,
        share: Sequence[float] = (0.3, 1.0),
        seed: int = 0,
    ) -> None:
        if isinstance(dataset, Mapping):
            handed: dict[str, Any] = dict(device=device)
            if body is not None:
                handed["body"] = body
            dataset = DATASETS.build(dataset, **handed)
        self.dataset: Any = dataset
        self.probability, self.share, self.seed = probability, tuple(share), seed
        if hasattr(dataset, "batch"):
            self.batch = self._batch

    def __len__(self) -> int:
        """Returns the number of samples of the data set inside."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> TrainSample:
        """Returns sample `index` with its reference cropped or not."""
        return self._crop(self.dataset[index].unsqueeze())[0]

    def _batch(
        self,
        step: int,
        batch_size: int,
        device: torch.device | str | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> TrainSample:
        return self._crop(self.dataset.batch(step, batch_size, device, rank, world))

    def _crop(self, sample: TrainSample) -> TrainSample:
        view = sample.reference
        window = self._windows(view.portrait, sample.subject)
        size = view.camera.width
        if view.portrait.size != (size, size):
            raise ValueError(f"only square pictures can be cropped, got {view.portrait.size}")
        crop = crop_windows(view.portrait, window, size)
        untouched = (window[:, 2] == size)[:, None, None, None]  # not even resampled
        portrait = Portrait(
            torch.where(untouched, view.portrait.rgb, crop.rgb),
            torch.where(untouched, view.portrait.alpha, crop.alpha),
        )
        cropped = View(portrait, view.body, zoomed(view.camera, window))
        return sample.replace(reference=cropped)

    def _windows(self, portrait: Portrait, subject: Tensor) -> Tensor:
        """Returns [B 3] centre and side, px; the whole picture where nothing is cropped."""
        draws = torch.tensor(
            [[mix(self.seed, number, k) / 2**63 for k in (0, 1)] for number in subject.tolist()],
            device=portrait.device,
        )
        mask = portrait.alpha[:, 0] >= 0.5  # [B H W]
        size = mask.shape[-1]
        rows = mask.any(-1).float()
        top = rows.argmax(-1).float()
        height = size - rows.flip(-1).argmax(-1).float() - top
        low, high = self.share
        kept = height * (low + (high - low) * draws[:, 0])
        side = (1.15 * kept).clamp(min=8.0)
        # Horizontally on the head: the middle of the mask in the person's topmost eighth.
        row = torch.arange(size, device=mask.device)
        near = (row >= top[:, None]) & (row <= (top + height / 8)[:, None])
        weight = (mask & near[..., None]).float().sum(1)  # [B W]
        middle = (weight * (row + 0.5)).sum(-1) / weight.sum(-1).clamp_min(1e-6)
        window = torch.stack([middle, top - 0.1 * kept + side / 2, side], -1)
        whole = window.new_tensor([size / 2, size / 2, size]).expand_as(window)
        crop = (draws[:, 1] < self.probability) & mask.flatten(1).any(-1)
        return torch.where(crop[:, None], window, whole)


def zoomed(camera: Camera, window: Tensor) -> Camera:
    """Returns the cameras of square windows [B 3] (centre, side), scaled back to full width."""
    scale = camera.width / window[:, 2]
    K = camera.K.clone()
    K[:, 0, 2] -= window[:, 0] - window[:, 2] / 2
    K[:, 1, 2] -= window[:, 1] - window[:, 2] / 2
    K[:, :2] *= scale[:, None, None]
    return camera.replace(K=K)
