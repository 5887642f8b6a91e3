"""Core-UV and Shell-UV: texels to surface points to image features."""

from presence.projection.blending import blend_uv
from presence.projection.dual_uv import DualUVProjector
from presence.projection.surface import SurfaceMap, build_surface

__all__ = ["DualUVProjector", "SurfaceMap", "blend_uv", "build_surface"]
