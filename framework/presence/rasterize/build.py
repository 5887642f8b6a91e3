"""Choosing a rasterizer by name, or by where the tensors are."""

from __future__ import annotations

import importlib.util
from typing import Literal

from torch import Tensor

from presence.errors import check_known
from presence.rasterize.base import BatchedRasterizer
from presence.rasterize.cpu import CPURasterizer
from presence.rasterize.cuda import TritonRasterizer
from presence.rasterize.pytorch3d import PyTorch3DRasterizer
from presence.registry import RASTERIZERS
from presence.structures import Fragments

BACKENDS: dict[str, str] = {
    "auto": "AutoRasterizer",
    "cpu": "CPURasterizer",
    "cuda": "TritonRasterizer",
    "pytorch3d": "PyTorch3DRasterizer",
}


@RASTERIZERS.register()
class AutoRasterizer(BatchedRasterizer):
    """Uses Triton for tensors on a GPU and numba for the others.

    Where Triton is not installed, GPU tensors make the journey to the CPU and back.

    Args:
        near: camera z, in metres, of the near plane.
    """

    def __init__(self, *, near: float = 1e-3) -> None:
        super().__init__(near=near)
        self._cpu = CPURasterizer(near=near)
        self._cuda = TritonRasterizer(near=near) if importlib.util.find_spec("triton") else None

    def _rasterize(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        cull_backfaces: bool,
        orthographic: bool,
    ) -> Fragments:
        backend = self._cuda if screen.is_cuda and self._cuda is not None else self._cpu
        return backend._rasterize(screen, faces, height, width, cull_backfaces, orthographic)


def build_rasterizer(
    name: Literal["auto", "cpu", "cuda", "pytorch3d"] = "auto", *, near: float = 1e-3
) -> BatchedRasterizer:
    """Builds the rasterizer of a backend.

    Args:
        name: the backend; "auto" decides call by call from where the tensors are.
        near: camera z, in metres, of the near plane.

    Raises:
        ConfigError: no backend has that name.

    Example:
        >>> type(build_rasterizer("cpu")).__name__
        'CPURasterizer'
    """
    check_known("rasterizer backend", name, BACKENDS)
    classes = (AutoRasterizer, CPURasterizer, TritonRasterizer, PyTorch3DRasterizer)
    return {cls.__name__: cls for cls in classes}[BACKENDS[name]](near=near)
