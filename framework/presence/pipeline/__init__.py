"""The whole path: a picture to an avatar, and an avatar to a video."""

from presence.pipeline.animation import AnimationResult, animate
from presence.pipeline.folders import check_pictures, reconstruct
from presence.pipeline.framing import frame_portrait
from presence.pipeline.loading import load_reconstructor
from presence.pipeline.player import AvatarPlayer
from presence.pipeline.reconstruction import FILES, Reconstructor
from presence.pipeline.views import VIEWS, plan_cameras

__all__ = [
    "FILES",
    "VIEWS",
    "AnimationResult",
    "AvatarPlayer",
    "Reconstructor",
    "animate",
    "check_pictures",
    "frame_portrait",
    "load_reconstructor",
    "plan_cameras",
    "reconstruct",
]
