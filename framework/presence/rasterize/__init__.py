"""Triangle meshes to face ids, barycentrics and depth, on CPU, CUDA and through PyTorch3D."""

from presence.interfaces import MeshRasterizer
from presence.rasterize.atlas import rasterize_uv
from presence.rasterize.attributes import interpolate
from presence.rasterize.build import AutoRasterizer, build_rasterizer
from presence.rasterize.cpu import CPURasterizer
from presence.rasterize.cuda import TritonRasterizer
from presence.rasterize.pytorch3d import PyTorch3DRasterizer

__all__ = [
    "AutoRasterizer",
    "CPURasterizer",
    "MeshRasterizer",
    "PyTorch3DRasterizer",
    "TritonRasterizer",
    "build_rasterizer",
    "interpolate",
    "rasterize_uv",
]
