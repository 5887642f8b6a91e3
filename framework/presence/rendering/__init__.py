"""Gaussians to pixels: gsplat on CUDA, and a CPU renderer with the same conventions."""

from presence.rendering.base import BatchedRenderer
from presence.rendering.build import AutoRenderer, build_renderer
from presence.rendering.cpu_renderer import CPURenderer
from presence.rendering.gsplat_renderer import GsplatRenderer, gsplat_problem

__all__ = [
    "AutoRenderer",
    "BatchedRenderer",
    "CPURenderer",
    "GsplatRenderer",
    "build_renderer",
    "gsplat_problem",
]
