"""Which device a process uses, and how several processes find each other."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from presence.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Process:
    """This process among those of a run.

    Attributes:
        device: where it computes.
        rank: its number.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes files."""
        return self.rank == 0


def pick_device(name: str = "auto") -> torch.device:
    """Returns the device of a name; "auto" is CUDA where there is one.

    Raises:
        ConfigError: CUDA was asked for and is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device `{name}` was asked for, but torch finds no CUDA device")
    return device


def start_process(device: str, launcher: str | None) -> Process:
    """Joins the process group of `torchrun` where there is one: NCCL on CUDA, gloo on the CPU.

    Args:
        device: "auto", "cpu" or "cuda".
        launcher: "pytorch" under torchrun, None or "none" for a single process.

    Raises:
        ConfigError: an unknown launcher, or torchrun's variables are not set.
    """
    if launcher in (None, "none"):
        return Process(pick_device(device))
    if launcher != "pytorch":
        raise ConfigError(f"unknown launcher `{launcher}`: use `pytorch` (torchrun) or `none`")
    missing = [v for v in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if v not in os.environ]
    if missing:
        raise ConfigError(
            f"--launcher pytorch needs {', '.join(missing)}: start it as "
            "`torchrun --nproc_per_node=N tools/train.py CONFIG --launcher pytorch`"
        )
    picked, local = pick_device(device), int(os.environ["LOCAL_RANK"])
    if picked.type == "cuda":
        picked = torch.device("cuda", local)
        torch.cuda.set_device(picked)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    return Process(picked, dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def joined_process(device: str, launcher: str | None) -> Iterator[Process]:
    """Joins the other processes for the length of a block, and leaves together with them.

    The block should call a function and keep no model itself: models that exchange gradients hold
    the process group, which ends when nobody holds it.

    Args:
        device: see `start_process`.
        launcher: see `start_process`.
    """
    process = start_process(device, launcher)
    try:
        yield process
        if process.world > 1:  # who left early would close connections that others still read
            ids = [process.device.index] if process.device.type == "cuda" else None
            dist.barrier(device_ids=ids)
    finally:
        _leave()


def _leave() -> None:
    """Ends the process group and its threads.

    Threads that outlived the interpreter would wait for its lock, and abort the process. The group
    ends with its last holder: first models caught in reference cycles, then `group`, which waits
    for the threads without holding the interpreter's lock.
    """
    if dist.is_initialized():
        group = dist.group.WORLD
        dist.destroy_process_group()
        gc.collect()
        del group


def over_processes(values: Tensor, process: Process) -> Tensor:
    """Returns the mean of a tensor over all processes; all of them have to come here."""
    if process.world == 1:
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed / process.world


def exchange_gradients(model: nn.Module, device: torch.device) -> nn.Module:
    """Wraps a model so that the processes average its gradients; on the CPU too."""
    from torch.nn.parallel import DistributedDataParallel

    ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():  # newer torch is about to rename the argument
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )


def gather(value: Any) -> list[Any]:
    """Returns every process's value, in order of rank, on every process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
