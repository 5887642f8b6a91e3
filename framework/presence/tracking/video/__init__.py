"""Videos: tracked by chunks, with one shape for the whole video, in bounded memory."""

from presence.tracking.video.chunks import Chunk, plan_chunks
from presence.tracking.video.frames import FrameSource, open_frames
from presence.tracking.video.one_euro import OneEuroFilter
from presence.tracking.video.tracker import VideoOptions, VideoTracker

__all__ = [
    "Chunk",
    "FrameSource",
    "OneEuroFilter",
    "VideoOptions",
    "VideoTracker",
    "open_frames",
    "plan_chunks",
]
