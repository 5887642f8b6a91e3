"""The contract of data sets: the same index, or step, gives the same sample, on every machine."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from presence.engine.data import BatchSource
from presence.structures import TrainSample, View
from presence.testing.contracts.common import ContractError, require, require_equal, require_finite


def check_dataset(dataset: Any, *, device: str = "cpu", count: int = 2) -> None:
    """Checks a data set by index and, where it makes batches, by step.

    Args:
        dataset: at least two samples.
        device: where batches are made.
        count: samples to look at.

    Raises:
        ContractError: what is broken.
    """
    require(len(dataset) >= 2, dataset, "a data set to be checked needs two samples")
    samples = [dataset[index] for index in range(min(count, len(dataset)))]
    for sample in samples:
        require(isinstance(sample, TrainSample), dataset, "an index should give a TrainSample")
        require(sample.batch_shape == (), dataset, "a sample by index has no batch axis")
        _check_sample(dataset, sample)
    require_equal(dataset[0], samples[0], dataset, "an index should always give the same sample")
    different = not torch.equal(
        samples[0].reference.portrait.rgb, samples[1].reference.portrait.rgb
    )
    require(different, dataset, "different indices should give different samples")
    try:
        dataset[len(dataset)]
    except IndexError:
        pass
    else:
        raise ContractError(f"{type(dataset).__name__}: an index past the end raises IndexError")
    if isinstance(dataset, BatchSource):
        _check_batches(dataset, device)


def _check_sample(dataset: Any, sample: TrainSample) -> None:
    require_finite(sample, dataset)
    for name in ("reference", "target"):
        view: View = getattr(sample, name)
        for field, value in (("rgb", view.portrait.rgb), ("alpha", view.portrait.alpha)):
            inside = (value >= 0).all() and (value <= 1).all()
            require(inside, dataset, f"{name} {field} should be in 0..1")
        size = (view.camera.height, view.camera.width)
        require(
            size == view.portrait.size,
            dataset,
            f"the {name} camera says {size}, its picture is {view.portrait.size}",
        )
        require(view.portrait.alpha.max() > 0.5, dataset, f"nobody is in the {name} view")
    require(
        torch.equal(sample.reference.body.betas, sample.target.body.betas),
        dataset,
        "both views should show the same person (equal betas)",
    )


def _check_batches(dataset: BatchSource, device: str) -> None:
    where = torch.device(device)
    before = torch.get_rng_state(), random.getstate(), _numpy_state()
    first = dataset.batch(3, 2, where)
    after = torch.get_rng_state(), random.getstate(), _numpy_state()
    untouched = torch.equal(before[0], after[0]) and before[1:] == after[1:]
    require(untouched, dataset, "batches leave the global random state alone")
    require(first.batch_shape == (2,), dataset, "a batch of two has batch axis [2]")
    require(first.device.type == where.type, dataset, f"a batch should be made on {device}")
    _check_sample(dataset, first)
    again = dataset.batch(3, 2, where)
    require_equal(again, first, dataset, "a step should always give the same batch")
    for other, name in (
        (dataset.batch(4, 2, where), "steps"),
        (dataset.batch(3, 2, where, rank=1, world=2), "processes"),
    ):
        shared = set(first.subject.tolist()) & set(other.subject.tolist())
        require(not shared, dataset, f"different {name} should give different subjects")


def _numpy_state() -> list[Any]:
    state: Any = np.random.get_state()
    return [state[1].tolist(), *state[2:]]
