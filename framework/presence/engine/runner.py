"""mmengine's Runner with exact resumes, safe checkpoints and a short log."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend, Visualizer
from torch import nn

from presence.engine import provenance
from presence.engine.checkpoint import (
    config_to_plain,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from presence.engine.data import BatchLoader, IndexLoader
from presence.engine.distributed import Process, exchange_gradients
from presence.engine.ema import WeightAverage
from presence.engine.hooks import (
    AverageHook,
    InterruptHook,
    PicturesHook,
    ProgressHook,
    SaveHook,
    StepHook,
)
from presence.engine.loops import StepLoop, ValidationLoop
from presence.engine.optim import PrecisionOptimWrapper, build_optimizer
from presence.engine.seed import seed_everything
from presence.engine.settings import TrainSettings
from presence.errors import ConfigError
from presence.io.atomic import atomic_file, write_text
from presence.registry import SCOPE

_runs = 0  # mmengine keeps loggers by name: every run of a process needs its own


class AvatarRunner(Runner):
    """Trains one model; built by `presence.engine.train`.

    mmengine gives the hooks, the log and TensorBoard; the loop, the state that is saved and the
    way back from it are ours.

    Args:
        model: the model, already on its device.
        loader: training batches.
        val_source: validation samples by index, None for no validation.
        settings: the run's settings.
        process: this process.
        work_dir: where everything is written.
        config: the config, recorded with the weights.

    Attributes:
        bare_model: the model without a distributed wrapper.
        average: the moving average of its weights.
        progress: the hook that watches the numbers.
        interrupt: the hook that watches for signals.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: BatchLoader | IndexLoader,
        val_source: Any,
        settings: TrainSettings,
        process: Process,
        work_dir: Path,
        config: Config,
    ) -> None:
        global _runs
        _runs += 1
        self.settings, self.process, self.bare_model = settings, process, model
        self.average = WeightAverage(model, settings.ema)
        self.progress = ProgressHook(settings.logging.interval)
        self.interrupt = InterruptHook()
        self.provenance = provenance.describe()
        name = Path(config.filename).stem if config.filename else "run"
        super().__init__(
            model=model,
            work_dir=str(work_dir),
            default_hooks=_without_mmengine_defaults(),
            custom_hooks=[*self._own_hooks(), *map(dict, settings.custom_hooks)],
            launcher="pytorch" if process.world > 1 else "none",
            visualizer=_visualizer(f"{name}-{_runs}", work_dir),
            default_scope=SCOPE,
            randomness=dict(seed=settings.seed),
            experiment_name=f"{name}-{_runs}",
            cfg=config,
        )
        self._val_loop = ValidationLoop(self, val_source, settings, process, model)
        self._train_loop = StepLoop(self, loader, settings, process)
        self.optim_wrapper = PrecisionOptimWrapper(
            build_optimizer(model, settings.optimizer),
            precision=settings.precision,
            device_type=process.device.type,
            clip=settings.optimizer.clip,
            accumulate=settings.schedule.accumulate,
        )

    def _own_hooks(self) -> list[Any]:
        own = self.settings
        return [
            StepHook(),
            AverageHook(),
            self.progress,
            SaveHook(own.checkpoints.interval, own.checkpoints.keep),
            PicturesHook(own.logging.pictures, own.logging.subjects),
            self.interrupt,
        ]

    def fit(self, resume_from: Path | None = None) -> nn.Module:
        """Trains to the end of the schedule and returns the bare model with its last weights.

        Args:
            resume_from: checkpoint to continue.

        Raises:
            ConfigError: the checkpoint does not fit the config or its schedule.
            TrainingDiverged: a value was not finite.
        """
        if resume_from is not None:
            self.load_state(resume_from)
        self.optim_wrapper.initialize_count_status(
            self.model, self._train_loop.iter, self._train_loop.max_iters
        )
        try:
            self.call_hook("before_run")
            self._train_loop.run()
            self.call_hook("after_run")
        finally:
            self.interrupt.restore()
            self.visualizer.close()
        return self.bare_model

    def save_state(self, path: Path, iteration: int) -> None:
        """Writes everything that the run needs to go on from `iteration`.

        Random state is not in it: the loop seeds every iteration (`seed_everything`).
        """
        means = self._val_loop.last.means if self._val_loop.last is not None else {}
        meta = dict(
            iteration=iteration,
            seed=self.settings.seed,
            world=self.process.world,
            schedule=dataclasses.asdict(self.settings.schedule),
            optimizer=dataclasses.asdict(self.settings.optimizer),
            config=config_to_plain(self.cfg),
            metrics=means,
            provenance=self.provenance,
        )
        save_checkpoint(
            path,
            dict(
                meta=meta,
                state_dict=self.bare_model.state_dict(),
                ema=self.average.state_dict(),
                ema_updates=self.average.updates,
                optimizer=self.optim_wrapper.optimizer.state_dict(),
            ),
        )

    def load_state(self, path: Path) -> None:
        """Restores what `save_state` wrote.

        Raises:
            ConfigError: other weights, or another schedule or optimiser: continuing would be
                neither the old run nor a new one.
        """
        state = read_checkpoint(path, map_location="cpu")
        meta = state["meta"]
        for section in ("schedule", "optimizer"):
            _check_same(section, meta[section], getattr(self.settings, section), path)
        if meta["seed"] != self.settings.seed:
            raise ConfigError(
                f"cannot resume {path}: seed is {meta['seed']} there, {self.settings.seed} now"
            )
        if meta["world"] != self.process.world:
            self.logger.warning(
                f"{path} was written by {meta['world']} processes, now there are "
                f"{self.process.world}: the data will differ"
            )
        load_weights(self.bare_model, state["state_dict"], source=str(path))
        self.average.load_state_dict(state["ema"], state["ema_updates"])
        self.optim_wrapper.optimizer.load_state_dict(state["optimizer"])
        self._train_loop._iter = meta["iteration"]
        self.logger.info(f"resumed {path} at iteration {meta['iteration']}")

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wraps the model for several processes; on the CPU too, which mmengine's does not."""
        if self.process.world == 1:
            return model
        return exchange_gradients(model, self.process.device)

    def set_randomness(self, seed: int, **unused: Any) -> None:
        """Seeds this process; the loop seeds every iteration again."""
        self._deterministic, self._seed = False, seed
        seed_everything(seed, self.process.rank)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Calls all hooks in order; unlike mmengine's it leaves their errors as they are."""
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                getattr(hook, fn_name)(self, **kwargs)

    def get_hooks_info(self) -> str:
        """Returns the hooks in order, in one line."""
        return ", ".join(type(hook).__name__ for hook in self._hooks)

    def _log_env(self, env_cfg: dict) -> None:
        self.logger.info(
            "environment: " + ", ".join(f"{k} {v}" for k, v in self.provenance.items() if v)
        )
        if self.process.is_main:
            record = dict(self.provenance, seed=self.settings.seed, world=self.process.world)
            write_text(Path(self.work_dir, "provenance.json"), json.dumps(record, indent=2))

    def dump_config(self) -> None:
        """Writes the config into the work folder, whole or not at all."""
        name = Path(self.cfg.filename).name if self.cfg.filename else f"{self.timestamp}.py"
        with atomic_file(Path(self.work_dir, name)) as temporary:
            self.cfg.dump(str(temporary))

    def build_logger(self, log_level: int | str = "INFO", **kwargs: Any) -> logging.Logger:
        """Builds mmengine's logger: the main process also prints, every process has a file."""
        return super().build_logger(log_level=log_level, logger_name="presence", **kwargs)


def _visualizer(name: str, work_dir: Path) -> Visualizer:
    """Returns mmengine's visualizer, which writes TensorBoard files into the work folder."""
    backend = _EventFiles(save_dir=str(work_dir / "tensorboard"))
    return Visualizer.get_instance(name, vis_backends=[backend])


class _EventFiles(TensorboardVisBackend):
    """TensorBoard files, whose errors name the folder: its writer is a thread that does not."""

    def add_scalars(self, *args: Any, **kwargs: Any) -> None:
        """Adds several curves' values."""
        with self._named():
            super().add_scalars(*args, **kwargs)

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        """Adds a picture."""
        with self._named():
            super().add_image(*args, **kwargs)

    def close(self) -> None:
        """Writes what is left."""
        with self._named():
            super().close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno is not None and not error.filename:
                error.filename = self._save_dir
            raise


def _without_mmengine_defaults() -> dict[str, None]:
    """Switches off the default hooks that ours replace."""
    names = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
    return dict.fromkeys(names)


def _check_same(section: str, saved: dict[str, Any], current: Any, path: Path) -> None:
    now = json.loads(json.dumps(dataclasses.asdict(current)))
    differing = [key for key in now if json.loads(json.dumps(saved.get(key))) != now[key]]
    if differing:
        key = differing[0]
        raise ConfigError(
            f"cannot resume {path}: {section}.{key} is {saved.get(key)} there, {now[key]} now. "
            "A run keeps its schedule; start a new work dir to train on another one"
        )
