"""Renders Gaussians on CPU cores, with gradients: tiles of 16 x 16 pixels, compiled by numba."""

# Starred arguments to numba's dispatchers cannot be counted by type checkers.
# mypy: disable-error-code="call-arg"

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from presence.registry import RENDERERS
from presence.rendering.base import BatchedRenderer
from presence.structures import Gaussians


@RENDERERS.register()
class CPURenderer(BatchedRenderer):
    """Tile-based splatting on the CPU; see `BatchedRenderer` for the conventions.

    Uses as many threads as `torch.get_num_threads()` says when it is called. Its threads end
    with the call, so it may be used from several threads at once and after a fork, and its
    pictures and gradients do not depend on their number, to the last bit. Kernels are compiled
    on first use and cached on disk. Tensors on other devices are copied over and back.

    Example:
        >>> from presence.structures import Camera
        >>> splat = Gaussians(
        ...     means=torch.tensor([[0.0, 0.0, 2.0]]), quaternions=torch.eye(4)[:1],
        ...     scales=torch.full((1, 3), 0.1), opacities=torch.ones(1), colors=torch.ones(1, 3),
        ... )
        >>> K = torch.tensor([[32.0, 0.0, 16.0], [0.0, 32.0, 16.0], [0.0, 0.0, 1.0]])
        >>> frame = CPURenderer()(splat, Camera(K, torch.eye(4), width=32, height=32))
        >>> frame.rgb.shape, round(float(frame.depth[0, 16, 16]), 3)
        (torch.Size([3, 32, 32]), 2.0)
    """

    def render_batch(
        self,
        gaussians: Gaussians,
        K: Tensor,
        cam_from_world: Tensor,
        background: Tensor,
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Renders the batch one picture after another; see `BatchedRenderer.render_batch`."""
        device = gaussians.means.device
        local, cameras = gaussians.to("cpu"), _pack_cameras(K, cam_from_world)
        images, transmittances = [], []
        for index, camera in enumerate(cameras):
            g = local[index]
            image, transmittance = _Splatting.apply(
                g.means, g.quaternions, g.scales, g.opacities, g.colors,
                camera, width, height, self.eps2d, self.near,
            )  # fmt: skip
            images.append(image)
            transmittances.append(transmittance)
        image = torch.stack(images).permute(0, 3, 1, 2).to(device)  # [B 4 H W]
        remaining = torch.stack(transmittances)[:, None].to(device)  # [B 1 H W]
        alpha = 1.0 - remaining
        rgb = image[:, :3] + remaining * background[:, :, None, None]
        return rgb, alpha, image[:, 3:] / alpha.clamp_min(1e-10)


class _Splatting(torch.autograd.Function):
    """One picture: colour and depth [H W 4] without background, and transmittance [H W]."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quaternions: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        camera: np.ndarray,
        width: int,
        height: int,
        eps2d: float,
        near: float,
    ) -> tuple[Tensor, Tensor]:
        from presence.rendering import binning, compositing, projection

        inputs: list[Any] = [_array(t) for t in (means, quaternions, scales, opacities, colors)]
        count, columns = len(means), -(-width // projection.TILE)
        tile_count = columns * -(-height // projection.TILE)
        centers = np.empty((count, 2))
        splats = np.empty((count, projection.SPLAT_COLUMNS), np.float32)
        tiles = np.empty((count, 4), np.int32)
        _parallel(count, lambda start, stop: projection.project_forward(
            start, stop, *inputs, camera, width, height, eps2d, near, centers, splats, tiles
        ))  # fmt: skip
        keys = np.ascontiguousarray(splats[:, projection.DEPTH]).view(np.uint32)
        order = binning.depth_order(keys, tiles)
        offsets, ids = binning.tile_lists(order, tiles, columns, tile_count // columns)
        image = np.empty((height, width, compositing.CHANNELS), np.float32)
        transmittance = np.empty((height, width), np.float32)
        last_hit = np.empty((height, width), np.int64)
        lists: tuple[Any, ...] = (columns, width, height, centers, splats, offsets, ids)
        _parallel(tile_count, lambda start, stop: compositing.composite_forward(
            start, stop, *lists, image, transmittance, last_hit
        ), pieces=32)  # fmt: skip
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(means, quaternions, scales)
            ctx.lists, ctx.tiles, ctx.camera = lists, tiles, camera
            # A copy: the caller may change the picture that it was handed.
            ctx.transmittance, ctx.last_hit = transmittance.copy(), last_hit
        return torch.from_numpy(image), torch.from_numpy(transmittance)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_transmittance: Tensor) -> tuple:
        from presence.rendering import compositing, projection

        inputs: list[Any] = [_array(t) for t in ctx.saved_tensors]
        columns, width, height, _, splats, offsets, ids = ctx.lists
        slots = compositing.used_entries(columns, width, height, offsets, ctx.last_hit)
        entry_grads = np.empty((slots[-1], projection.GRAD_COLUMNS), np.float32)
        upstream: tuple[Any, ...] = _array(grad_image), _array(grad_transmittance)
        _parallel(len(offsets) - 1, lambda start, stop: compositing.composite_backward(
            start, stop, *ctx.lists, ctx.transmittance, ctx.last_hit, *upstream, slots, entry_grads
        ), pieces=32)  # fmt: skip
        grads = np.zeros((len(splats), projection.GRAD_COLUMNS))
        compositing.sum_entries(offsets, slots, ids, entry_grads, grads)
        outputs: list[Any] = [np.zeros_like(array) for array in inputs]
        _parallel(len(splats), lambda start, stop: projection.project_backward(
            start, stop, *inputs, ctx.camera, width, height, splats, ctx.tiles, grads, *outputs
        ))  # fmt: skip
        direct = torch.from_numpy(grads.astype(np.float32))
        opacities = direct[:, projection.G_OPACITY]
        colors = direct[:, projection.G_RED : projection.G_BLUE + 1]
        return (*map(torch.from_numpy, outputs), opacities, colors, *[None] * 5)


def _pack_cameras(K: Tensor, cam_from_world: Tensor) -> np.ndarray:
    """Returns [B 16] float64 in the layout of `projection.FX`."""
    rigid = cam_from_world.detach().cpu().double()
    K = K.detach().cpu().double()
    focal_centre = torch.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], -1)
    rotation, translation = rigid[:, :3, :3].flatten(1), rigid[:, :3, 3]
    return torch.cat([rotation, translation, focal_centre], -1).contiguous().numpy()


def _array(value: Tensor) -> np.ndarray:
    return np.ascontiguousarray(value.detach().numpy())


def _parallel(count: int, work: Callable[[int, int], None], *, pieces: int = 8) -> None:
    """Calls `work(start, stop)` over `count` items in pieces, on torch's number of threads.

    The kernels release the interpreter lock. Threads are made for the call: that takes a tenth
    of a millisecond, and leaves no pool behind that a fork would break.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count < pieces:
        work(0, count)
        return
    bounds = np.linspace(0, count, max(pieces, 2 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, *span) for span in zip(bounds, bounds[1:])]:
            future.result()
