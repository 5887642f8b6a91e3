"""Motions: the built-in ones, and putting any motion on a reconstructed person."""

from presence.motion.builtin import BUILTIN, builtin_motion, find_motion
from presence.motion.clip import Motion, slerp
from presence.motion.driver import motion_from_tracking
from presence.motion.retarget import retarget

__all__ = [
    "BUILTIN",
    "Motion",
    "builtin_motion",
    "find_motion",
    "motion_from_tracking",
    "retarget",
    "slerp",
]
