"""`TritonRasterizer`: the CUDA backend; Triton comes with PyTorch, so nobody needs a compiler."""

from __future__ import annotations

import contextlib
from types import ModuleType

import torch
from torch import Tensor

from presence.errors import AssetError
from presence.rasterize.base import BatchedRasterizer, background
from presence.rasterize.fixed_point import SUBPIXEL_BITS, UNUSABLE, to_fixed_point
from presence.registry import RASTERIZERS
from presence.structures import Fragments

NOTHING = (1 << 63) - 1
"""A key behind every other; its low half reads as face -1."""

FACES_PER_PROGRAM = 16
SMALL_TILE = 8  # px a side, of the tiles in which small faces are walked
MAX_SMALL_TILES = 16  # faces whose bounding box needs more go to the queue
LARGE_TILE = 16
QUEUE_LANES, TILE_LANES = 128, 16  # programs that share out queued faces, and tiles of a face
PIXELS_PER_PROGRAM = 256


@RASTERIZERS.register()
class TritonRasterizer(BatchedRasterizer):
    """Rasterizes on an NVIDIA GPU, without waiting for it.

    Three kernels: faces of small bounding box are walked right away and the others queued;
    programs then share out the queue tile by tile; last, each pixel works out the barycentrics
    of the face that won. Winners are kept by a 64-bit atomic minimum of (depth, face index), so
    the result does not depend on the order of execution. Coverage, depth and barycentrics have
    the same bits as `CPURasterizer`'s.

    Args:
        near: camera z, in metres, of the near plane.

    Raises:
        AssetError: when called and Triton is not installed.
        ValueError: when called with tensors that are not on a GPU.
    """

    def _rasterize(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        cull_backfaces: bool,
        orthographic: bool,
    ) -> Fragments:
        kernels = _load()
        if not screen.is_cuda and not kernels.INTERPRETED:
            raise ValueError(
                f"TritonRasterizer needs tensors on a GPU, got {screen.device}; "
                "the rasterizer `auto` takes either"
            )
        out = background(len(screen), height, width, screen.device)
        batch, vertices, count = len(screen), screen.shape[1], len(faces)
        if not batch or not count:
            return out
        fixed = to_fixed_point(screen, near=self.near, orthographic=orthographic)
        depths = screen[..., 2].contiguous()
        keys = torch.full((batch, height, width), NOTHING, dtype=torch.int64, device=screen.device)
        queue = torch.empty(batch * count, dtype=torch.int64, device=screen.device)
        queued = torch.zeros(1, dtype=torch.int32, device=screen.device)
        shared = dict(
            vertices=vertices,
            face_count=count,
            height=height,
            width=width,
            ORTHOGRAPHIC=orthographic,
            BITS=SUBPIXEL_BITS,
            # A fused multiply-add would round otherwise than the CPU does.
            enable_fp_fusion=False,
        )
        mesh = (fixed, depths, faces)
        with _on(screen.device):
            kernels.draw_small_faces[(-(-count // FACES_PER_PROGRAM), batch)](
                *mesh,
                keys,
                queue,
                queued,
                CULL=cull_backfaces,
                UNUSABLE=UNUSABLE,
                FACES=FACES_PER_PROGRAM,
                TILE=SMALL_TILE,
                MAX_TILES=MAX_SMALL_TILES,
                **shared,
            )
            kernels.draw_queued_faces[(QUEUE_LANES, TILE_LANES)](
                *mesh,
                keys,
                queue,
                queued,
                TILE=LARGE_TILE,
                **shared,
            )
            kernels.resolve[(-(-height * width // PIXELS_PER_PROGRAM), batch)](
                *mesh,
                keys,
                out.face_ids,
                out.barycentrics,
                out.depth,
                PIXELS=PIXELS_PER_PROGRAM,
                **shared,
            )
        return out


def _on(device: torch.device) -> contextlib.AbstractContextManager:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _load() -> ModuleType:
    try:
        from presence.rasterize import triton_kernels
    except ImportError as error:
        raise AssetError(
            f"TritonRasterizer needs the package `triton`, which comes with PyTorch for CUDA "
            f"({error}). Use the rasterizer `cpu`."
        ) from error
    return triton_kernels
