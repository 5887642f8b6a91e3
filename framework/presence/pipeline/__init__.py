"""The whole path: a picture to an avatar, and an avatar to a video."""

from presence.pipeline.animation import AnimationResult, animate
from presence.pipeline.framing import frame_portrait
from presence.pipeline.player import AvatarPlayer
from presence.pipeline.reconstruction import (
    FILES,
    Reconstructor,
    load_reconstructor,
    reconstruct,
)
from presence.pipeline.views import VIEWS, plan_cameras

__all__ = [
    "FILES",
    "VIEWS",
    "AnimationResult",
    "AvatarPlayer",
    "Reconstructor",
    "animate",
    "frame_portrait",
    "load_reconstructor",
    "plan_cameras",
    "reconstruct",
]
