"""Batches made ahead in a process of their own, so that making and learning share the GPU.

Making procedural people is thousands of small kernels: launching them from the training process
would leave the GPU idle half of the time. The tensors stay on the device; only handles travel.
"""

from __future__ import annotations

import queue as queues
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.multiprocessing as mp

from presence.structures import TrainSample

if TYPE_CHECKING:
    from presence.engine.data import BatchSource

# One batch waits while the next is made; more would only hold memory.
_AHEAD = 2
_POLL_SECONDS = 5.0


def produced_batches(
    source: BatchSource,
    batch_size: int,
    device: torch.device,
    rank: int,
    world: int,
    start: int,
) -> Iterator[TrainSample]:
    """Yields batches `start`, `start` + 1, ... of a source, made in another process.

    Args:
        source: must be picklable.
        batch_size: samples a batch.
        device: where batches are made and arrive.
        rank: number of this training process.
        world: number of training processes.
        start: first step.

    Raises:
        RuntimeError: the producing process ended; its own error is on stderr.
    """
    context = mp.get_context("spawn")
    ready: Any = context.Queue(_AHEAD)
    arguments = (source, batch_size, device, rank, world, start, ready)
    producer = context.Process(target=_produce, args=arguments, daemon=True)
    producer.start()
    try:
        while True:
            yield _next(ready, producer)
    finally:
        producer.terminate()
        producer.join()


def _next(ready: Any, producer: Any) -> TrainSample:
    while True:
        try:
            return ready.get(timeout=_POLL_SECONDS)
        except queues.Empty:
            if not producer.is_alive():
                raise RuntimeError("the process that makes batches ended; see its error") from None


def _produce(
    source: BatchSource,
    batch_size: int,
    device: torch.device,
    rank: int,
    world: int,
    start: int,
    ready: Any,
) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
    step = start
    while True:
        sample = source.batch(step, batch_size, device, rank=rank, world=world)
        if device.type == "cuda":
            # The handle may be opened at once: what it points to must be finished.
            torch.cuda.current_stream().synchronize()
        ready.put(sample)
        step += 1
