"""`CPURasterizer`: numba kernels, spread over bands of rows and over the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from presence.rasterize.base import BatchedRasterizer
from presence.rasterize.fixed_point import to_fixed_point
from presence.registry import RASTERIZERS
from presence.structures import Fragments

BANDS_PER_THREAD = 4  # so that a thread with little to draw takes over from a busy one


@RASTERIZERS.register()
class CPURasterizer(BatchedRasterizer):
    """Rasterizes on the CPU with exact coverage and a z-buffer.

    Runs on as many threads as PyTorch does (so on one inside a data loader's worker). Plain
    threads around kernels that release the GIL: numba's own thread pool may neither be
    entered from two threads nor survive a fork, and data loaders do both. The result does not
    depend on the number of threads. Tensors on another device make the journey and come back.

    Args:
        near: camera z, in metres, of the near plane.
        threads: default `torch.get_num_threads()`.
    """

    def __init__(self, *, near: float = 1e-3, threads: int | None = None) -> None:
        super().__init__(near=near)
        if threads is not None and threads < 1:
            raise ValueError(f"threads should be at least 1, got {threads}")
        self.threads = threads

    def _rasterize(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        cull_backfaces: bool,
        orthographic: bool,
    ) -> Fragments:
        from presence.rasterize.cpu_kernels import draw_rows

        fixed = to_fixed_point(screen, near=self.near, orthographic=orthographic).cpu().numpy()
        depths, corners = screen[..., 2].cpu().contiguous().numpy(), faces.cpu().numpy()
        shape = (len(screen), height, width)
        face_ids, depth = np.empty(shape, np.int64), np.empty(shape, np.float32)
        weights = np.empty((*shape, 3), np.float32)

        def draw(task: tuple[int, int, int]) -> None:
            image, first, stop = task
            draw_rows(
                fixed[image],
                depths[image],
                corners,
                first,
                stop,
                cull_backfaces,
                orthographic,
                face_ids[image],
                weights[image],
                depth[image],
            )

        threads = self.threads or torch.get_num_threads()
        tasks = _tasks(len(screen), height, threads)
        if threads == 1 or len(tasks) <= 1:
            for task in tasks:
                draw(task)
        else:
            with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
                list(pool.map(draw, tasks))
        return Fragments(
            face_ids=torch.from_numpy(face_ids).to(screen.device),
            barycentrics=torch.from_numpy(weights).to(screen.device),
            depth=torch.from_numpy(depth).to(screen.device),
        )


def _tasks(batch: int, height: int, threads: int) -> list[tuple[int, int, int]]:
    """Returns (image, first row, stop row) of every band; whole images when there are enough."""
    wanted = BANDS_PER_THREAD * threads if threads > 1 else 1
    bands = min(height, max(1, -(-wanted // max(batch, 1))))
    edges = [height * band // bands for band in range(bands + 1)]
    return [(image, *rows) for image in range(batch) for rows in zip(edges, edges[1:])]
