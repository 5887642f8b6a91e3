"""MP4 files from frames, and frames from video files, through the ffmpeg that imageio carries."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor
from tqdm import tqdm

from presence.errors import InputError
from presence.io.atomic import atomic_file
from presence.io.images import to_uint8

T = TypeVar("T")
SUFFIXES = (".mp4", ".mov", ".mkv")
"""The containers that `write_video` accepts."""


def write_video(
    path: str | Path,
    frames: Iterable[Tensor],
    fps: float,
    *,
    count: int | None = None,
    label: str = "",
    quality: int = 18,
) -> int:
    """Encodes frames as H.264 (yuv420p, which every player reads), atomically.

    Args:
        path: ends in one of `SUFFIXES`.
        frames: pictures [3 H W] in 0..1, all of one size; may be a generator. An odd last row
            or column is dropped, because yuv420p stores colour for pairs of pixels.
        fps: frames a second.
        count: number of frames if known, for the progress bar.
        label: what the progress bar calls the work; no bar if empty.
        quality: x264's constant rate factor, 0 (lossless) to 51.

    Returns:
        The number of frames written.

    Raises:
        InputError: the suffix is no video's, or there are no frames.
        OSError: the disk is full, or the file cannot be written.
    """
    check_video_path(path)
    written = 0
    with atomic_file(path) as temporary, _Encoder(temporary, fps, quality) as encoder:
        for frame in progress(frames, count=count, label=label):
            encoder.append(frame)
            written += 1
        if not written:
            raise InputError(f"video {path} would have no frames")
    return written


def progress(items: Iterable[T], *, count: int | None = None, label: str = "") -> Iterable[T]:
    """Passes items on under a progress bar with an ETA; in a log file, one line every 10 s."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(
        items, total=count, desc=label, unit="frame", disable=not label, mininterval=interval
    )


def check_video_path(path: str | Path) -> None:
    """Raises InputError unless `path` ends as a video that can be written."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"video {path} should end in one of {', '.join(SUFFIXES)}")


def read_video(path: str | Path) -> tuple[Iterator[np.ndarray], float, tuple[int, int]]:
    """Opens a video.

    Returns:
        Frames as bytes [H W 3] (decoded one by one), frames a second, and (height, width).

    Raises:
        InputError: not a video.
    """
    import imageio_ffmpeg

    if not Path(path).is_file():
        raise InputError(f"video {path} does not exist")
    reader = imageio_ffmpeg.read_frames(str(path))
    try:
        meta: dict[str, Any] = next(reader)
    except (OSError, RuntimeError, StopIteration, KeyError, IndexError) as error:
        raise InputError(f"{path} is not a video that can be read") from error
    width, height = meta["size"]
    frames = (np.frombuffer(raw, np.uint8).reshape(height, width, 3) for raw in reader)
    return frames, float(meta["fps"]), (height, width)


def count_frames(path: str | Path) -> int:
    """Counts a video's frames without decoding them.

    Raises:
        InputError: not a video.
    """
    import imageio_ffmpeg

    if not Path(path).is_file():
        raise InputError(f"video {path} does not exist")
    try:
        return int(imageio_ffmpeg.count_frames_and_secs(str(path))[0])
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} is not a video that can be read") from error


def read_frames(path: str | Path, indices: Sequence[int]) -> list[np.ndarray]:
    """Reads single frames [H W 3] (bytes) of a video, decoding no further than the last one.

    Raises:
        InputError: not a video, or it is shorter; the message says by how much.
    """
    frames, _, _ = read_video(path)
    found: dict[int, np.ndarray] = {}
    count = 0
    for count, frame in enumerate(frames, 1):
        if count - 1 in indices:
            found[count - 1] = frame
        if count > max(indices):
            break
    if len(found) < len(set(indices)):
        raise InputError(f"video {path} has {count} frames, not {max(indices) + 1}")
    return [found[index] for index in indices]


class _Encoder:
    """An ffmpeg process that takes raw frames; started by the first one, which sets the size."""

    def __init__(self, path: Path, fps: float, quality: int) -> None:
        self.path, self.fps, self.quality = path, fps, quality
        self.process: subprocess.Popen | None = None
        self.messages = tempfile.TemporaryFile()

    def __enter__(self) -> _Encoder:
        return self

    def append(self, frame: Tensor) -> None:
        """Adds one frame [3 H W]."""
        pixels = to_uint8(frame)
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        if self.process is None:
            self.process = self._start(width, height)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(np.ascontiguousarray(pixels[:height, :width]))
        except BrokenPipeError:
            self._finish()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        try:
            if self.process is not None and kind is None:
                self._finish()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.communicate()
            self.messages.close()

    def _start(self, width: int, height: int) -> subprocess.Popen:
        import imageio_ffmpeg

        size = f"{width}x{height}"
        source = f"-f rawvideo -pix_fmt rgb24 -s {size} -r {self.fps} -i - -an".split()
        # BT.709 is what players assume of H.264 without a colour tag at HD; say it, and use it.
        colour = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
        encode = f"-c:v libx264 -crf {self.quality} -preset medium -movflags +faststart".split()
        tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709".split()
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error"]
        command = [*ffmpeg, *source, "-vf", colour, *encode, *tags, str(self.path)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.messages
        )

    def _finish(self) -> None:
        """Ends the stream and raises the operating system's error if ffmpeg met one."""
        assert self.process is not None
        try:
            self.process.communicate()
        except BrokenPipeError:
            self.process.wait()
        self.messages.seek(0)
        said = self.messages.read().decode(errors="replace")
        if "No space left" in said:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        if self.process.returncode:
            reason = said.strip().splitlines()[-1] if said.strip() else "no reason given"
            raise OSError(errno.EIO, f"the video could not be encoded ({reason})", str(self.path))
