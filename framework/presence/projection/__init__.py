"""Core-UV and Shell-UV: texels to surface points to image features."""

from presence.projection.blending import blend_uv
from presence.projection.completion import NearbyColours, complete_colours, mirrored_points
from presence.projection.covering import cover, gaps
from presence.projection.dual_uv import DualUVProjector
from presence.projection.masking import drop_cells
from presence.projection.outline import OUTLINE_CHANNELS, outline_of_texels
from presence.projection.probes import MaskProbes
from presence.projection.second_look import SecondLook
from presence.projection.silhouette import carve, colours_at, narrow, probe_mask
from presence.projection.surface import SurfaceMap, build_surface

__all__ = [
    "OUTLINE_CHANNELS",
    "DualUVProjector",
    "MaskProbes",
    "NearbyColours",
    "SecondLook",
    "SurfaceMap",
    "blend_uv",
    "build_surface",
    "carve",
    "colours_at",
    "complete_colours",
    "cover",
    "drop_cells",
    "gaps",
    "mirrored_points",
    "narrow",
    "outline_of_texels",
    "probe_mask",
]
