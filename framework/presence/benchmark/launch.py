"""Runs side by side: one process a GPU, one at a time without GPUs, or tasks of a Ray cluster."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from presence.benchmark.worker import RESULT, STOPPED, read_result
from presence.errors import ConfigError, InputError

LOG = "log.txt"
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 60.0  # to save a checkpoint when asked to stop

Launcher = Literal["auto", "local", "ray"]


def launch(
    folders: Sequence[Path],
    *,
    launcher: Launcher = "auto",
    gpus: Sequence[str] | None = None,
    address: str | None = None,
) -> Iterator[tuple[Path, str | None]]:
    """Runs the jobs in some folders and yields each as it ends, with the reason of a failure.

    Args:
        folders: with a `job.json` each.
        launcher: "local" processes, "ray" tasks; "auto" is Ray where an address is given.
        gpus: values of CUDA_VISIBLE_DEVICES, one process each; all that are present if None.
        address: of the Ray cluster; None starts one on this machine.

    Raises:
        ConfigError: Ray is asked for and not installed.
    """
    if launcher == "ray" or (launcher == "auto" and address is not None):
        return _launch_on_ray(folders, address)
    return _launch_here(folders, list(visible_gpus() if gpus is None else gpus) or [""])


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds a folder for the time of the block; a process that dies lets it go.

    Raises:
        InputError: another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another sweep is writing to {folder}") from error
        yield


def visible_gpus() -> list[str]:
    """Returns a value of CUDA_VISIBLE_DEVICES for each GPU that this process may use."""
    import torch

    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _launch_here(folders: Sequence[Path], gpus: Sequence[str]) -> Iterator[tuple[Path, str | None]]:
    waiting, free = collections.deque(folders), collections.deque(gpus)
    running: list[_Process] = []
    before = _interrupt_on_terminate()
    try:
        while waiting or running:
            while waiting and free:
                running.append(_Process(waiting.popleft(), free.popleft(), len(gpus)))
            for process in [p for p in running if p.ended]:
                running.remove(process)
                free.append(process.gpu)
                yield process.folder, process.reason()
            time.sleep(_POLL_SECONDS)
    finally:
        for process in running:
            process.ask_to_stop()
        for process in running:
            process.stop()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _interrupt_on_terminate() -> Any:
    """Lets SIGTERM end the sweep as Ctrl-C does, so that runs can save; returns what was before."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, interrupt)


class _Process:
    """A worker on one GPU (or on the CPU, for ""), with its group of helper processes."""

    def __init__(self, folder: Path, gpu: str, workers: int) -> None:
        self.folder, self.gpu = folder, gpu
        (folder / RESULT).unlink(missing_ok=True)
        cores = max(1, (os.cpu_count() or 1) // workers)
        environment = {"OMP_NUM_THREADS": str(cores), **os.environ}
        if gpu:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with open(folder / LOG, "ab") as log:
            self._process = subprocess.Popen(
                worker_command(folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def reason(self) -> str | None:
        """Why there is no result, None where there is one; ends what it left running."""
        self._signal(signal.SIGKILL)
        return failure(self.folder, self._process.returncode)

    def ask_to_stop(self) -> None:
        """Lets it save its state."""
        if not self.ended:
            self._process.terminate()

    def stop(self) -> None:
        """Waits for it, not for ever."""
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Reaches the helpers that make batches too: the worker leads their group."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass


def worker_command(folder: Path) -> list[str]:
    """Returns the command line that runs the job of a folder."""
    return [sys.executable, "-m", "presence.benchmark.worker", str(folder)]


def failure(folder: Path, code: int) -> str | None:
    """Returns why the job of a folder has no result, None where it has one."""
    result = read_result(folder)
    if result is not None:
        return result.get("reason") if result["status"] != "done" else None
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}; see {LOG}"
    if code == STOPPED:
        return "stopped before its end"
    return f"ended with exit code {code}; see {LOG}"


def _launch_on_ray(
    folders: Sequence[Path], address: str | None
) -> Iterator[tuple[Path, str | None]]:
    """One task a job; the folders have to lie where all machines of the cluster see them."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"benchmark.launcher is ray, which is not installed ({error}): pip install ray"
        ) from error
    own = not ray.is_initialized()
    if own:
        ray.init(address=address, log_to_driver=False)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
        task: Any = ray.remote(num_gpus=gpus, num_cpus=1, max_retries=0)(_run_as_task)
        pending = {task.remote(str(folder.resolve())): folder for folder in folders}
        while pending:
            (ready, *_), _rest = ray.wait(list(pending), num_returns=1)
            folder = pending.pop(ready)
            yield folder, _outcome(ray.get, ready, folder)
    finally:
        if own:
            ray.shutdown()


def _run_as_task(folder: str) -> int:
    """Runs a job in a process of its own on whatever machine this is; Ray has chosen the GPU."""
    (Path(folder) / RESULT).unlink(missing_ok=True)  # an earlier run's
    with open(Path(folder) / LOG, "ab") as log:
        # An open pipe as its standard input, which ends when this process does.
        process = subprocess.Popen(
            worker_command(Path(folder)), stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        return process.wait()


def _outcome(get: Callable[[Any], int], reference: Any, folder: Path) -> str | None:
    try:
        return failure(folder, get(reference))
    except Exception as error:  # the machine went away, or the task could not be run there
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
