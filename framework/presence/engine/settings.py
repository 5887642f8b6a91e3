"""The training sections of a config as typed settings; a misspelt key is an error that suggests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from presence.errors import ConfigError, did_you_mean
from presence.models.attention import BACKENDS

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        iterations: optimiser steps (micro-batches, when `accumulate` is above 1).
        batch_size: samples a process and iteration.
        accumulate: iterations whose gradients make one optimiser step.
        warmup: iterations of linear warm-up from zero.
        shape: how the rate falls after the warm-up.
        final_ratio: last learning rate over the highest.
    """

    iterations: int = 20_000
    batch_size: int = 8
    accumulate: int = 1
    warmup: int = 500
    shape: Literal["cosine", "linear", "constant"] = "cosine"
    final_ratio: float = 0.05


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW and gradient clipping (design section 4; values without a source are ours).

    Attributes:
        lr: highest learning rate.
        betas: AdamW's averaging constants.
        eps: AdamW's denominator floor.
        weight_decay: applied to matrices only, never to biases, norms and embeddings.
        clip: largest gradient norm, None for no clipping.
        lr_scale: parameter-name prefix to a factor on `lr` (such as `{"encoder.": 0.1}`).
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.05
    clip: float | None = 1.0
    lr_scale: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ema:
    """Exponential moving average of the weights, used for validation and for export.

    Attributes:
        decay: share of the old average that stays at each optimiser step; 0 switches it off.
        warmup: start with a short memory, min(decay, (1 + n) / (10 + n)), so that the random
            start is forgotten at once.
    """

    decay: float = 0.999
    warmup: bool = True


@dataclasses.dataclass(frozen=True)
class Logging:
    """What is written while training.

    Attributes:
        interval: iterations between progress lines and scalars.
        pictures: iterations between picture grids in TensorBoard, 0 for none.
        subjects: validation subjects shown in a grid.
    """

    interval: int = 50
    pictures: int = 1000
    subjects: int = 4


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Which states are kept.

    Attributes:
        interval: iterations between checkpoints; the last iteration is always saved.
        keep: newest checkpoints to keep, 0 for all.
    """

    interval: int = 1000
    keep: int = 3


@dataclasses.dataclass(frozen=True)
class Validation:
    """When and on what the averaged weights are measured.

    Attributes:
        interval: iterations between validations, 0 for never.
        subjects: how many of the validation source's samples are used.
        batch_size: samples predicted at once.
        at_start: also measure before the first iteration.
        metrics: configs of registered metrics, measured in training and by tools/test.py.
        test_metrics: further ones that only tools/test.py measures, slower or with own files.
        background: grey level outside both masks.
    """

    interval: int = 1000
    subjects: int = 16
    batch_size: int = 4
    at_start: bool = True
    metrics: tuple[Mapping[str, Any], ...] = (
        dict(type="PSNR"),
        dict(type="PSNROver", background=0.5),
        dict(type="PSNROver", background=0.0),
        dict(type="PSNRInside", margin=6),
        dict(type="SSIM"),
    )
    test_metrics: tuple[Mapping[str, Any], ...] = (
        dict(type="IdentitySimilarity"),
        dict(type="LandmarkAgreement", part="face"),
        dict(type="LandmarkAgreement", part="pose"),
    )
    background: float = 1.0

    @property
    def protocol(self) -> tuple[Mapping[str, Any], ...]:
        """All metrics of a test run, in the order of the table's columns."""
        return (*self.metrics, *self.test_metrics)


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Everything that `presence.engine.train` reads from a config besides `model` and `data`.

    Attributes:
        seed: the run's seed.
        device: "auto" takes CUDA where there is one.
        precision: autocast type of the networks; geometry and rendering stay in float32.
        workers: DataLoader processes for map-style data sets.
        prefetch: make the next batches while the current one is used: on the CPU in a second
            thread (torch then uses half of its threads for each), on CUDA in another process.
        compile: compile transformer and convolution blocks with `torch.compile`, once for all
            that are alike: worth a minute at the start of long runs on a GPU.
        attention: which of torch's attention kernels to prefer on a GPU: "flash", "cudnn" or
            "efficient"; "auto" measures when the run starts, "torch" leaves torch's own order.
        init_weights: weights of a related model to start from, where name and shape agree.
        custom_hooks: configs of further mmengine hooks.
    """

    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    ema: Ema = Ema()
    logging: Logging = Logging()
    checkpoints: Checkpoints = Checkpoints()
    validation: Validation = Validation()
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["bf16", "fp32"] = "bf16"
    workers: int = 0
    prefetch: bool = True
    compile: bool = False
    attention: Literal["torch", "auto", "flash", "cudnn", "efficient"] = "torch"
    init_weights: str | None = None
    custom_hooks: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TrainSettings:
        """Reads the settings of a config; absent sections and keys keep their defaults.

        Raises:
            ConfigError: an unknown section or key, or a value out of range.
        """
        sections = {
            "schedule": Schedule,
            "optimizer": Optimizer,
            "ema": Ema,
            "logging": Logging,
            "checkpoints": Checkpoints,
            "validation": Validation,
        }
        own = {field.name for field in dataclasses.fields(cls)}
        _check_keys("config", config, own | _OTHER_KEYS)
        values = {key: config[key] for key in own - set(sections) if key in config}
        for name, section in sections.items():
            values[name] = read_section(section, config.get(name) or {}, name)
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Raises ConfigError for a value out of range, naming it."""
        wanted = {
            "schedule.iterations": (self.schedule.iterations, self.schedule.iterations > 0),
            "schedule.batch_size": (self.schedule.batch_size, self.schedule.batch_size > 0),
            "schedule.accumulate": (self.schedule.accumulate, self.schedule.accumulate > 0),
            "schedule.shape": (
                self.schedule.shape,
                self.schedule.shape in ("cosine", "linear", "constant"),
            ),
            "optimizer.lr": (self.optimizer.lr, self.optimizer.lr > 0),
            "ema.decay": (self.ema.decay, 0 <= self.ema.decay < 1),
            "precision": (self.precision, self.precision in ("bf16", "fp32")),
            "device": (self.device, str(self.device).split(":")[0] in ("auto", "cpu", "cuda")),
            "attention": (self.attention, self.attention in ("torch", "auto", *BACKENDS)),
            "logging.interval": (self.logging.interval, self.logging.interval > 0),
            "checkpoints.interval": (self.checkpoints.interval, self.checkpoints.interval > 0),
        }
        for name, (value, fits) in wanted.items():
            if not fits:
                raise ConfigError(f"config: `{name}` cannot be {value!r}")


# Top-level keys of a config that are not training settings.
_OTHER_KEYS = frozenset({"model", "data", "plugins", "tracker", "pipeline", "benchmark"})


def read_section(section: type[T], values: Mapping[str, Any], name: str) -> T:
    """Builds a settings dataclass from one section of a config.

    Raises:
        ConfigError: the section has a key that the dataclass does not know.
    """
    known = {field.name for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    _check_keys(f"config section `{name}`", values, known)
    return section(**{key: _plain(value) for key, value in values.items()})


def _check_keys(where: str, values: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{where} has no key `{key}`.{did_you_mean(key, known)} "
                f"Known: {', '.join(sorted(known))}."
            )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
