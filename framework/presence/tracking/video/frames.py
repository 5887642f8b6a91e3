"""`FrameSource`: the frames of a video file, or of a folder of pictures in the order of names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from presence.errors import InputError
from presence.io.images import PICTURE_SUFFIXES, load_portrait, to_uint8
from presence.io.video import read_video


@dataclasses.dataclass(frozen=True)
class FrameSource:
    """Where frames come from; they are read one by one, as often as wanted.

    Attributes:
        path: video file or folder.
        count: number of frames.
        fps: frames a second.
        height: px.
        width: px.
        pictures: the folder's pictures; empty for a video.
    """

    path: Path
    count: int
    fps: float
    height: int
    width: int
    pictures: tuple[Path, ...] = ()

    def frames(self, first: int = 0) -> Iterator[np.ndarray]:
        """Yields frames [H W 3] uint8 RGB from number `first` on.

        Raises:
            InputError: a picture of a folder cannot be read, or has another size.
        """
        if self.pictures:
            for path in self.pictures[first:]:
                yield self._picture(path)
            return
        frames, _, _ = read_video(self.path)
        try:
            for number, frame in enumerate(frames):
                if number >= self.count:
                    break
                if number >= first:
                    yield frame
        finally:
            frames.close()  # type: ignore[attr-defined]

    def _picture(self, path: Path) -> np.ndarray:
        frame = to_uint8(load_portrait(path).rgb)
        if frame.shape[:2] != (self.height, self.width):
            raise InputError(
                f"{path} has {frame.shape[1]} x {frame.shape[0]} px, the first picture of the "
                f"folder {self.width} x {self.height}: frames should have one size"
            )
        return np.ascontiguousarray(frame)


def open_frames(path: str | Path, fps: float | None = None) -> FrameSource:
    """Opens a video or a folder of pictures.

    Args:
        path: video file or folder.
        fps: frames a second; None takes the video's own, 25 for a folder.

    Raises:
        InputError: neither, or there are no frames.
    """
    path = Path(path)
    if path.is_dir():
        names = (p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        pictures = tuple(sorted(names))
        if not pictures:
            raise InputError(f"folder {path} has no pictures")
        height, width = load_portrait(pictures[0]).size
        return FrameSource(path, len(pictures), fps or 25.0, height, width, pictures)
    frames, own, (height, width) = read_video(path)
    frames.close()  # type: ignore[attr-defined]
    import imageio_ffmpeg

    try:
        count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is not a video that can be read") from error
    if not count:
        raise InputError(f"video {path} has no frames")
    return FrameSource(path, int(count), fps or own, height, width)
