"""A model and data so small that the training engine can be tested in seconds."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from presence.engine.seed import mix
from presence.errors import InputError
from presence.interfaces import Tracker
from presence.registry import DATASETS, MODELS, TRACKERS
from presence.structures import (
    BodyParams,
    Camera,
    Portrait,
    Rendering,
    Tracking,
    TrainSample,
    View,
    stack,
)


def toy_camera(size: int = 16) -> Camera:
    """Returns a camera 2 m in front of the origin."""
    eye, target = torch.tensor([0.0, 0.0, 2.0]), torch.zeros(3)
    return Camera.look_at(eye, target, 0.5, size, size)


def toy_view(seed: int, size: int = 16) -> View:
    """Returns a picture of a coloured disc on a noisy background, drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    alpha = ((rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2).float()[None]
    color = torch.rand(3, 1, 1, generator=generator)
    noise = torch.rand(3, size, size, generator=generator)
    body = BodyParams(torch.zeros(4), torch.zeros(2), torch.zeros(55, 3), torch.zeros(3))
    portrait = Portrait(color * alpha + 0.2 * noise * (1 - alpha), alpha)
    return View(portrait, body, toy_camera(size))


def toy_sample(seed: int, size: int = 16) -> TrainSample:
    """Returns a sample whose target is the mirrored reference."""
    reference = toy_view(seed, size)
    flipped = reference.portrait.map(lambda picture: picture.flip(-1))
    return TrainSample(reference, reference.replace(portrait=flipped), torch.tensor(seed))


@DATASETS.register()
class ToyPeople:
    """Map-style data set of discs; also makes batches by step.

    Args:
        num_subjects: samples by index.
        first_seed: seed of sample 0.
        size: picture size, px.
        batches: offer `batch`; False leaves only the map-style interface.
    """

    def __init__(
        self, num_subjects: int = 8, first_seed: int = 0, size: int = 16, batches: bool = True
    ) -> None:
        self.num_subjects, self.first_seed, self.size = num_subjects, first_seed, size
        if batches:
            self.batch = self._batch

    def __len__(self) -> int:
        return self.num_subjects

    def __getitem__(self, index: int) -> TrainSample:
        if not 0 <= index < self.num_subjects:
            raise IndexError(index)
        return toy_sample(self.first_seed + index, self.size)

    def _batch(
        self, step: int, batch_size: int, device: Any, rank: int = 0, world: int = 1
    ) -> TrainSample:
        first = (step * world + rank) * batch_size
        seeds = [mix(first + i) % 2**31 for i in range(batch_size)]
        return stack([toy_sample(seed, self.size) for seed in seeds]).to(device)


@TRACKERS.register()
class ToyTracker(Tracker):
    """Takes whatever differs from the picture's corner for the person, and its colour for a shape.

    The first three shape coefficients are the person's mean colour.
    """

    def __call__(self, portrait: Portrait) -> Tracking:
        """Tracks one portrait; see `track`."""
        return self.track(portrait)[1]

    def track(self, portrait: Portrait) -> tuple[Portrait, Tracking]:
        """Returns the cut-out and the tracking.

        Raises:
            InputError: the picture has one colour.
        """
        away = (portrait.rgb - portrait.rgb[:, :1, :1]).abs().amax(0)
        alpha = (away > 0.15).float()
        if not alpha.any():
            raise InputError("nobody was found in the picture")
        color = portrait.rgb[:, alpha > 0].mean(-1)
        body = BodyParams(
            torch.cat([color, color.new_zeros(1)]),
            torch.zeros(2),
            torch.zeros(55, 3),
            torch.zeros(3),
        )
        height, width = portrait.size
        eye, target = torch.tensor([0.0, 0.0, 2.0]), torch.zeros(3)
        camera = Camera.look_at(eye, target, 0.5, width, height)
        return portrait.replace(alpha=alpha[None]), Tracking(body, camera)


@MODELS.register()
class ToyAvatarModel(BaseModel):
    """Two convolutions and some randomness with the interface of `AvatarModel`.

    Args:
        width: hidden channels.
        noise: standard deviation of noise on the input while training, to test random state.
        explode_at: forward pass whose loss is not a number, -1 for none.
    """

    def __init__(self, width: int = 8, noise: float = 0.01, explode_at: int = -1) -> None:
        super().__init__()
        self.noise, self.explode_at, self._calls = noise, explode_at, 0
        self.network = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 8, 3, padding=1)
        )

    def _render(self, rgb: Tensor) -> tuple[Rendering, Rendering]:
        maps = self.network(rgb).float().sigmoid()
        views = []
        for color, alpha in (maps[:, :4].split([3, 1], 1), maps[:, 4:].split([3, 1], 1)):
            views.append(Rendering(color * alpha, alpha, torch.zeros_like(alpha)))
        return views[0], views[1]

    def loss(self, sample: TrainSample) -> dict[str, Tensor]:
        """Returns an L1 term for each view, and a logged value that is no loss."""
        rgb = sample.reference.portrait.rgb
        reference, target = self._render(rgb + self.noise * torch.randn_like(rgb))
        terms = {
            f"loss_{name}": (view.rgb - truth.rgb * truth.alpha).abs().mean()
            for name, view, truth in (
                ("reference", reference, sample.reference.portrait),
                ("target", target, sample.target.portrait),
            )
        }
        if self._calls == self.explode_at:
            terms["loss_target"] = terms["loss_target"] * torch.nan
        self._calls += 1
        return {**terms, "coverage": reference.alpha.mean()}

    @torch.no_grad()
    def predict(self, sample: TrainSample) -> dict[str, Any]:
        """Returns both renderings over black."""
        reference, target = self._render(sample.reference.portrait.rgb)
        return dict(reference=reference, target=target, avatar=None)

    def forward(self, sample: TrainSample, mode: str = "loss") -> dict[str, Any]:
        """Dispatches as mmengine's Runner asks."""
        return self.loss(sample) if mode == "loss" else self.predict(sample)


def toy_config(**changes: Any) -> dict[str, Any]:
    """Returns a whole training config of the toys; sections in `changes` are merged into it."""
    config: dict[str, Any] = dict(
        model=dict(type="ToyAvatarModel"),
        data=dict(train=dict(type="ToyPeople"), val=dict(type="ToyPeople", first_seed=1000)),
        schedule=dict(iterations=20, batch_size=2, warmup=2),
        optimizer=dict(lr=1e-2),
        logging=dict(interval=5, pictures=0),
        checkpoints=dict(interval=10, keep=0),
        validation=dict(interval=10, subjects=4),
        precision="fp32",
        device="cpu",
    )
    for key, value in changes.items():
        old = config.get(key)
        config[key] = {**old, **value} if isinstance(old, dict) else value
    return config


__all__ = [
    "ToyAvatarModel",
    "ToyPeople",
    "ToyTracker",
    "toy_camera",
    "toy_config",
    "toy_sample",
    "toy_view",
]
