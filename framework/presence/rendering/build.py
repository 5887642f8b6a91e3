"""Chooses the renderer that fits where the Gaussians are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from presence.interfaces import GaussianRenderer
from presence.registry import RENDERERS
from presence.rendering.base import BatchedRenderer
from presence.rendering.cpu_renderer import CPURenderer
from presence.rendering.gsplat_renderer import GsplatRenderer, gsplat_problem
from presence.structures import Gaussians

_log = logging.getLogger(__name__)
_NAMES = {
    "auto": "AutoRenderer",
    "cpu": "CPURenderer",
    "cuda": "GsplatRenderer",
    "gsplat": "GsplatRenderer",
}


@RENDERERS.register()
class AutoRenderer(BatchedRenderer):
    """Draws with gsplat where the Gaussians are on CUDA, and with `CPURenderer` elsewhere.

    Where gsplat cannot be used, CUDA tensors are drawn on the CPU too (the same picture, far
    slower), and the reason is logged once.
    """

    def __init__(self, *, eps2d: float = 0.3, near: float = 0.01) -> None:
        super().__init__(eps2d=eps2d, near=near)
        self._cpu = CPURenderer(eps2d=eps2d, near=near)
        self._gsplat = GsplatRenderer(eps2d=eps2d, near=near)
        self._warned = False

    def render_batch(
        self,
        gaussians: Gaussians,
        K: Tensor,
        cam_from_world: Tensor,
        background: Tensor,
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hands the batch to the chosen renderer; see `BatchedRenderer.render_batch`."""
        chosen = self.choose(gaussians.device)
        return chosen.render_batch(gaussians, K, cam_from_world, background, height, width)

    def choose(self, device: torch.device) -> BatchedRenderer:
        """Returns the renderer that draws tensors on `device`."""
        if device.type != "cuda":
            return self._cpu
        problem = gsplat_problem()
        if problem is None:
            return self._gsplat
        if not self._warned:
            _log.warning("drawing CUDA tensors on the CPU, as gsplat cannot be used: %s", problem)
            self._warned = True
        return self._cpu


def build_renderer(
    which: Literal["auto", "cpu", "cuda", "gsplat"] | Mapping[str, Any] = "auto",
) -> GaussianRenderer:
    """Builds a renderer by its short name or from `dict(type=..., **options)`.

    Raises:
        ConfigError: there is no such renderer, or it has no such option.

    Example:
        >>> type(build_renderer("cpu")).__name__
        'CPURenderer'
    """
    cfg = {"type": _NAMES.get(which, which)} if isinstance(which, str) else which
    return RENDERERS.build(cfg)
