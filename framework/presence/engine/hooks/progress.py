"""The progress line, the scalars, and the guard against numbers that are not finite."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from presence.engine.distributed import over_processes
from presence.engine.loops import append_scalars
from presence.errors import PresenceError
from presence.registry import HOOKS


class TrainingDiverged(PresenceError):
    """A loss or gradient became infinite or not a number."""


@HOOKS.register()
class ProgressHook(Hook):
    """Averages what the model logs and reports it at intervals, with speed and remaining time.

    Reported are means over all processes: each alone sees its share of every step.

    Values stay on the device between reports, so training never waits for the host; on the CPU
    every iteration is checked, on CUDA every report and every checkpoint.

    Args:
        interval: iterations between reports.
    """

    priority = "LOW"

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._names: tuple[str, ...] = ()
        self._sum = self._first_bad = torch.zeros(0)
        self._count, self._data_seconds, self._since = 0, 0.0, 0.0
        self._iteration = 0

    def before_train(self, runner: Any) -> None:
        """Starts the clock."""
        self._iteration = runner.iter
        self._since = time.perf_counter()
        if runner.process.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Takes in one iteration's values; reports at the interval and at the end."""
        values = dict(outputs or {})
        if runner.optim_wrapper.grad_norm is not None:
            values["grad_norm"] = runner.optim_wrapper.grad_norm.detach()
        self._add(values, batch_idx)
        self._data_seconds += runner.train_loop.data_seconds
        self._iteration = batch_idx + 1
        if runner.process.device.type == "cpu":
            self.check()
        if self._iteration % self.interval == 0 or self._iteration == runner.max_iters:
            self.check()
            self._report(runner)

    def after_val(self, runner: Any) -> None:
        """Restarts the clock: validation is not training time."""
        self._restart()

    def check(self) -> None:
        """Stops the run if anything logged since its start was not finite.

        Raises:
            TrainingDiverged: which value, and at which iteration.
        """
        bad = {n: int(i) for n, i in zip(self._names, self._first_bad.tolist()) if i >= 0}
        if bad:
            name = min(bad, key=lambda n: bad[n])
            raise TrainingDiverged(
                f"training stopped: {name} is not finite at iteration {bad[name]} "
                f"(also: {', '.join(n for n in bad if n != name) or 'nothing else'}). Resume from "
                "an older checkpoint, or lower optimizer.lr"
            )

    def _add(self, values: dict[str, Tensor], iteration: int) -> None:
        """Adds the values, and notes for each the first iteration at which it was not finite."""
        stacked = torch.stack([value.float().reshape(()) for value in values.values()])
        if tuple(values) != self._names:
            self._names, self._count = tuple(values), 0
            self._sum = torch.zeros_like(stacked)
            self._first_bad = torch.full_like(stacked, -1, dtype=torch.int64)
        new = ~stacked.isfinite() & (self._first_bad < 0)
        self._first_bad = torch.where(new, iteration, self._first_bad)
        self._sum += stacked
        self._count += 1

    def _report(self, runner: Any) -> None:
        seconds = (time.perf_counter() - self._since) / max(self._count, 1)
        averages = over_processes(self._sum / max(self._count, 1), runner.process)
        means = dict(zip(self._names, averages.tolist()))
        scalars = {f"train/{name}": value for name, value in means.items()}
        scalars["train/lr"] = float(runner.optim_wrapper.optimizer.param_groups[0]["lr"])
        scalars["time/iteration"] = seconds
        scalars["time/data"] = self._data_seconds / max(self._count, 1)
        if runner.process.device.type == "cuda":
            scalars["memory/peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        if runner.process.is_main:
            runner.logger.info(self._line(runner, means, scalars))
            runner.visualizer.add_scalars(scalars, step=self._iteration)
            append_scalars(runner, self._iteration, scalars)
        self._restart()

    def _line(self, runner: Any, means: dict[str, float], scalars: dict[str, float]) -> str:
        left = timedelta(
            seconds=round(scalars["time/iteration"] * (runner.max_iters - self._iteration))
        )
        terms = " ".join(
            f"{name.removeprefix('loss_')} {value:.4g}"
            for name, value in means.items()
            if name not in ("loss", "grad_norm")
        )
        peak = scalars.get("memory/peak_gb")
        return (
            f"iter {self._iteration}/{runner.max_iters}  "
            f"loss {means.get('loss', 0):.4g} ({terms})  "
            f"lr {scalars['train/lr']:.2e}  grad {means.get('grad_norm', 0):.3g}  "
            f"{1 / max(scalars['time/iteration'], 1e-9):.2f} it/s (data "
            f"{scalars['time/data']:.3f} s)  eta {left}" + (f"  {peak:.1f} GB" if peak else "")
        )

    def _restart(self) -> None:
        self._sum = torch.zeros_like(self._sum)
        self._count, self._data_seconds, self._since = 0, 0.0, time.perf_counter()
