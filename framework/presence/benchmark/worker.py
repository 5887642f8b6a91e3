"""One run of a sweep in a process of its own: `python -m presence.benchmark.worker FOLDER`.

A crash, a full GPU or a broken plugin then costs one row. The process ends when its standard input
does, so that it never outlives the sweep that started it.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from presence.benchmark.rows import Job
from presence.errors import ConfigError
from presence.io.atomic import write_text

JOB, RESULT, TRAINED = "job.json", "result.json", "trained.json"
STOPPED = 3  # exit code: asked to stop, can be continued
_TRIAL_STEPS = 24  # of which the first half is not timed


def write_job(folder: Path, job: Job) -> None:
    """Writes what a process has to do into its folder."""
    write_text(folder / JOB, json.dumps(dataclasses.asdict(job), indent=1))


def read_result(folder: Path) -> dict[str, Any] | None:
    """Returns a run's result, None where there is none that can be read."""
    try:
        return json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def run_job(folder: Path) -> int:
    """Does what `folder` says: trains or goes on training, measures, writes `result.json`.

    Returns:
        0 where the result is complete, 1 where it says why not, `STOPPED` where a signal came.
    """
    job = Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    about: dict[str, Any] = dict(name=job.name, seed=job.seed, fingerprint=job.result_print)
    started = time.monotonic()
    try:
        result = _run(job, folder)
    except Exception as error:  # whatever goes wrong is this row's result
        traceback.print_exc()
        from presence.cli import user_text

        text = user_text(error) or f"{type(error).__name__}: {error}"
        result = dict(status="failed", reason=" ".join(text.split())[:500])
    if result is None:
        return STOPPED
    about["wall_seconds"] = time.monotonic() - started
    write_text(folder / RESULT, json.dumps({**about, **result}, indent=1) + "\n")
    return 0 if result["status"] == "done" else 1


def _run(job: Job, folder: Path) -> dict[str, Any] | None:
    import torch

    from presence.benchmark.measure import Protocol, measure
    from presence.engine import provenance
    from presence.engine.checkpoint import build_model, load_model
    from presence.engine.distributed import pick_device
    from presence.engine.seed import seed_everything
    from presence.engine.settings import TrainSettings
    from presence.plugins import load_plugin_file

    for plugin in job.config.get("plugins", ()):
        load_plugin_file(plugin)
    settings = TrainSettings.from_config(job.config)
    device = pick_device(settings.device)
    training: dict[str, Any] = {}
    weights = job.weights
    if job.train:
        trained = _train(job, folder / "work")
        if trained is None:
            return None
        training, weights = trained, str(folder / "work" / "weights.safetensors")
        gc.collect()  # the trainer's model and optimiser refer to each other in circles
    seed_everything(job.seed)
    if weights is not None:
        model = load_model(weights, job.config, device)
    else:
        model = build_model(job.config["model"]).to(device).eval()
    measured = measure(
        model, Protocol.read(job.protocol), folder, device=device, precision=settings.precision
    )
    learned = sum(p.numel() for p in model.parameters()) if weights is not None else 0
    own = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return dict(
        status="done",
        parameters=learned,
        device=own,
        training=training,
        provenance=provenance.describe(),
        **measured,
    )


def _train(job: Job, work: Path) -> dict[str, Any] | None:
    """Trains in `work`, or goes on, or finds it done; None where a signal came."""
    from mmengine.config import Config

    from presence.benchmark.curves import learning_curve, training_seconds
    from presence.engine import train
    from presence.engine.trainer import WEIGHTS

    stamp = work / TRAINED
    known = _read(stamp)
    if known.get("fingerprint") != job.training_print:
        shutil.rmtree(work, ignore_errors=True)
        known = dict(fingerprint=job.training_print, iterations=_iterations(job, work))
        write_text(stamp, json.dumps(known))
    iterations = known["iterations"]
    if not (work / WEIGHTS).is_file():
        config = Config(job.training_config(iterations))
        if train(config, work_dir=work, resume=True) is None:
            return None
        for checkpoint in work.glob("iter_*.pth"):  # hundreds of megabytes, used no more
            checkpoint.unlink()
    return dict(
        iterations=iterations,
        samples=iterations * job.batch_size,
        seconds=training_seconds(work),
        curve=learning_curve(work, job.batch_size),
    )


def _iterations(job: Job, work: Path) -> int:
    """Steps that the budget allows; for one in seconds, a trial run beside `work` is timed."""
    if job.budget.get("samples") is not None:
        return max(1, round(job.budget["samples"] / job.batch_size))
    from mmengine.config import Config

    from presence.benchmark.curves import step_seconds
    from presence.engine import train

    trial = work.with_name("trial")
    shutil.rmtree(trial, ignore_errors=True)
    config = {**job.training_config(_TRIAL_STEPS)}
    config["validation"] = dict(config["validation"], interval=0)
    config["logging"] = dict(interval=_TRIAL_STEPS // 2, pictures=0)
    if train(Config(config), work_dir=trial) is None:
        raise KeyboardInterrupt
    seconds = step_seconds(trial)
    shutil.rmtree(trial, ignore_errors=True)
    return max(1, round(job.budget["seconds"] / seconds))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def end_with(descriptor: int, stop: Callable[[], None]) -> None:
    """Calls `stop` from another thread when a pipe ends, as it does when its writer dies."""

    def watch() -> None:
        while os.read(descriptor, 4096):
            pass
        stop()

    threading.Thread(target=watch, daemon=True, name="parent").start()


def main() -> None:
    """Runs the folder that the command line names."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(name)s: %(message)s")
    end_with(sys.stdin.fileno(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        code = run_job(Path(sys.argv[1]))
    except KeyboardInterrupt:
        code = STOPPED
    sys.stdout.flush()
    os._exit(code)  # threads of libraries must not keep a finished row


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python -m presence.benchmark.worker FOLDER")
    main()
