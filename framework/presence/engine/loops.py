"""The training and validation loops that mmengine's Runner drives."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner.base_loop import BaseLoop
from torch import Tensor

from presence.engine.data import BatchLoader, IndexLoader
from presence.engine.distributed import Process
from presence.engine.optim import set_learning_rate
from presence.engine.seed import seed_everything
from presence.engine.settings import TrainSettings
from presence.evaluation.evaluator import Evaluation, evaluate
from presence.io.atomic import append_line
from presence.registry import METRICS
from presence.structures import TrainSample

_log = logging.getLogger(__name__)


class StepLoop(BaseLoop):
    """Trains by iterations; data, seed and learning rate are functions of the iteration alone.

    Args:
        runner: mmengine's Runner.
        dataloader: gives batches from any step on.
        settings: the run's settings.
        process: this process.

    Attributes:
        iter: iterations done.
        stop_training: set by a hook to end after the current iteration.
        data_seconds: host time spent waiting for the current batch.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: BatchLoader | IndexLoader,
        settings: TrainSettings,
        process: Process,
    ) -> None:
        super().__init__(runner, dataloader)
        self.settings, self.process = settings, process
        self._iter, self._epoch = 0, 0
        self.stop_training = False
        self.data_seconds = 0.0

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Always 0: there are no epochs."""
        return self._epoch

    @property
    def max_iters(self) -> int:
        """Iterations to do in all."""
        return self.settings.schedule.iterations

    @property
    def max_epochs(self) -> int:
        """Always 1: the whole run, as mmengine's hooks see it."""
        return 1

    def run(self) -> torch.nn.Module:
        """Trains from the current iteration to the last."""
        runner, validation = self.runner, self.settings.validation
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        if self._iter == 0 and validation.interval and validation.at_start:
            runner.val_loop.run()
        with contextlib.closing(self.dataloader.iterate(self._iter)) as batches:
            while self._iter < self.max_iters and not self.stop_training:
                self._train_and_validate(batches)
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model

    def _train_and_validate(self, batches: Iterator[TrainSample]) -> None:
        started = time.perf_counter()
        seed_everything(self.settings.seed, self.process.rank, self._iter)
        sample = next(batches)
        self.data_seconds = time.perf_counter() - started
        self.runner.model.train()
        self.run_iter(sample)
        interval, last = self.settings.validation.interval, self._iter == self.max_iters
        if interval and (last or self._iter % interval == 0):
            self.runner.val_loop.run()

    def run_iter(self, sample: TrainSample) -> None:
        """Does one iteration: forward in the chosen precision, backward, step.

        The random state is set once more before the forward pass, so that what the model draws
        does not depend on how the batch was made.
        """
        runner, wrapper = self.runner, self.runner.optim_wrapper
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=sample)
        set_learning_rate(wrapper.optimizer, self._iter, self.settings.schedule)
        seed_everything(self.settings.seed + 1, self.process.rank, self._iter)
        with wrapper.optim_context(runner.model):
            terms = runner.model(sample, mode="loss")
        total, logged = total_loss(terms)
        wrapper.update_params(total)
        runner.call_hook(
            "after_train_iter", batch_idx=self._iter, data_batch=sample, outputs=logged
        )
        self._iter += 1


def total_loss(terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sums the terms called `loss_*` in float32; returns the sum and all values, detached.

    Raises:
        ValueError: there is no such term.
    """
    means = {name: value.float().mean() for name, value in terms.items()}
    losses = [value for name, value in means.items() if name.startswith("loss_")]
    if not losses:
        raise ValueError(f"model.loss gave no `loss_*` among {', '.join(terms) or 'nothing'}")
    total = torch.stack(losses).sum()
    return total, {"loss": total.detach(), **{n: v.detach() for n, v in means.items()}}


class ValidationLoop(BaseLoop):
    """Measures the averaged weights on the validation source.

    Args:
        runner: mmengine's Runner.
        source: gives samples by index.
        settings: the run's settings.
        process: this process.
        model: the bare model, never wrapped for several processes.

    Attributes:
        last: what was measured last.
    """

    def __init__(
        self,
        runner: Any,
        source: Any,
        settings: TrainSettings,
        process: Process,
        model: torch.nn.Module,
    ) -> None:
        super().__init__(runner, source)
        self.settings, self.process, self.model, self.source = settings, process, model, source
        self.metrics = [METRICS.build(metric) for metric in settings.validation.metrics]
        self.last: Evaluation | None = None
        for metric in self.metrics if settings.validation.interval else ():
            if reason := metric.missing():
                _log.warning("metric %s is not computed: %s", metric.name, reason)

    def run(self) -> dict[str, float]:
        """Returns the means, after writing them to the log, TensorBoard and scalars.jsonl."""
        validation, iteration = self.settings.validation, self.runner.iter
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        with self.runner.average.applied():
            self.last = evaluate(
                self.model,
                self.source,
                validation.subjects,
                self.metrics,
                batch_size=validation.batch_size,
                device=self.process.device,
                precision=self.settings.precision,
                background=validation.background,
                rank=self.process.rank,
                world=self.process.world,
            )
        means = self.last.means
        if self.process.is_main:
            self._report(iteration, means)
        self.runner.call_hook("after_val_epoch", metrics=means)
        self.runner.call_hook("after_val")
        return means

    def _report(self, iteration: int, means: dict[str, float]) -> None:
        assert self.last is not None
        text = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        self.runner.logger.info(
            f"validation at {iteration}: {text}  ({self.last.subjects} subjects)"
        )
        scalars = {f"val/{name}": value for name, value in means.items()}
        self.runner.visualizer.add_scalars(scalars, step=iteration)
        append_scalars(self.runner, iteration, scalars)


def append_scalars(runner: Any, iteration: int, scalars: dict[str, float]) -> None:
    """Adds one JSON line to the work folder's `scalars.jsonl`, the training curve."""
    row = json.dumps(dict(iteration=iteration, **scalars))
    append_line(f"{runner.work_dir}/scalars.jsonl", row)
