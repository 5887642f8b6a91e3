"""From a config to trained weights: `train`, the one library call of tools/train.py."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from presence.engine.checkpoint import (
    build_model,
    export_weights,
    list_checkpoints,
    warm_start,
)
from presence.engine.data import RememberedSource, build_loader
from presence.engine.distributed import Process, joined_process
from presence.engine.seed import seed_everything
from presence.engine.settings import TrainSettings
from presence.errors import ConfigError
from presence.models.attention import attention_kernels, resolve_attention

_log = logging.getLogger(__name__)
WEIGHTS = "weights.safetensors"


def train(
    config: Any,
    *,
    work_dir: str | Path | None = None,
    resume: bool | str | Path = False,
    launcher: str | None = None,
) -> Path | None:
    """Trains the model of a config and exports its averaged weights.

    Args:
        config: what `presence.config.load_config` returned: `model`, `data.train`, `data.val`
            and the sections of `TrainSettings`.
        work_dir: where checkpoints, logs, TensorBoard and weights go; by default
            `work_dirs/<name of the config>`.
        resume: True continues the newest checkpoint of `work_dir` (or starts, if there is
            none); a path continues that checkpoint.
        launcher: "pytorch" under torchrun, None for a single process.

    Returns:
        The exported weights, or None where the run was stopped before its end.

    Raises:
        ConfigError: the config or the checkpoint does not fit.
        TrainingDiverged: a loss became infinite or not a number.
    """
    settings = TrainSettings.from_config(config)
    folder = Path(work_dir or default_work_dir(config))
    checkpoint = find_checkpoint(folder, resume)
    with joined_process(settings.device, launcher) as process:
        return _train(config, settings, process, folder, checkpoint)


def _train(
    config: Any, settings: TrainSettings, process: Process, folder: Path, checkpoint: Path | None
) -> Path | None:
    runner = _build_runner(config, settings, process, folder)
    attention = resolve_attention(
        settings.attention,
        runner.bare_model,
        process.device,
        batch=settings.schedule.batch_size,
        backward=True,
    )
    if attention != "torch":
        _log.info("attention kernel: %s", attention)
    with _shared_cores(runner.train_dataloader), attention_kernels(attention):
        runner.fit(checkpoint)
    if runner.iter < runner.max_iters:
        _log.warning(
            "stopped at iteration %d of %d; continue with --resume", runner.iter, runner.max_iters
        )
        return None
    if not process.is_main:
        return None
    return export_weights(list_checkpoints(folder)[-1], folder / WEIGHTS)


def default_work_dir(config: Any) -> Path:
    """Returns `work_dirs/<name of the config file>`."""
    filename = getattr(config, "filename", None)
    return Path("work_dirs") / (Path(filename).stem if filename else "run")


def find_checkpoint(folder: Path, resume: bool | str | Path) -> Path | None:
    """Returns the checkpoint to continue, None to start.

    Raises:
        ConfigError: `folder` holds a run that would be overwritten.
    """
    present = list_checkpoints(folder) if folder.is_dir() else []
    if resume is True:
        if not present:
            _log.warning("nothing to resume in %s: starting at iteration 0", folder)
        return present[-1] if present else None
    if resume:
        return Path(resume)
    if present:
        raise ConfigError(
            f"{folder} already holds {present[-1].name}: add --resume to continue it, or choose "
            "another --work-dir"
        )
    return None


def build_source(config: Mapping[str, Any], split: str, **collaborators: Any) -> Any:
    """Builds the data set of `config["data"][split]`, None if there is none.

    Args:
        config: the whole config.
        split: "train", "val" or "test".
        **collaborators: built objects for constructors that name them, see
            `data_collaborators`.
    """
    from presence.registry import DATASETS

    cfg = (config.get("data") or {}).get(split)
    return None if cfg is None else DATASETS.build(cfg, **collaborators)


def data_collaborators(model: nn.Module, device: torch.device, workers: int = 0) -> dict[str, Any]:
    """Returns what a data set may ask for: the model's body, and the device to make samples on."""
    collaborators: dict[str, Any] = {}
    if getattr(model, "body", None) is not None:
        collaborators["body"] = model.body
    if workers == 0:  # worker processes cannot share this one's CUDA context
        collaborators["device"] = str(device)
    return collaborators


@contextmanager
def _shared_cores(loader: Any) -> Iterator[None]:
    """Gives half of torch's threads to each side while a second thread makes batches."""
    before = torch.get_num_threads()
    if getattr(loader, "prefetch", False):
        torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _build_runner(config: Any, settings: TrainSettings, process: Process, folder: Path) -> Any:
    from presence.engine.runner import AvatarRunner
    from presence.realtime.compiling import compile_blocks

    for key in ("model", "data"):
        if key not in config:
            raise ConfigError(f"the config has no `{key}` section")
    seed_everything(settings.seed)  # the same first weights on every process
    model: nn.Module = build_model(config["model"])
    if settings.init_weights:
        fresh = warm_start(model, settings.init_weights)
        _log.info("%s: %d weights start at random: %s", settings.init_weights, len(fresh), fresh)
    model = model.to(process.device)
    if settings.compile:
        _log.info("%d blocks will be compiled", compile_blocks(model))
    collaborators = data_collaborators(model, process.device, settings.workers)
    source = build_source(config, "train", **collaborators)
    if source is None:
        raise ConfigError("the config has no `data.train`")
    val_source = build_source(config, "val", **collaborators)
    if val_source is None and settings.validation.interval:
        raise ConfigError("validation is on but the config has no `data.val`")
    loader = build_loader(
        source,
        settings.schedule.batch_size,
        process.device,
        process.rank,
        process.world,
        seed=settings.seed,
        workers=settings.workers,
        prefetch=settings.prefetch,
    )
    if val_source is not None:
        val_source = RememberedSource(val_source)
    return AvatarRunner(model, loader, val_source, settings, process, folder, config)
