import errno
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from presence.errors import InputError
from presence.io.video import read_video, write_video


def frames(count: int, height: int = 64, width: int = 96):
    for index in range(count):
        frame = torch.full((3, height, width), 0.2)
        frame[0] = index / count
        yield frame


def test_count_duration_size_and_colours_survive(tmp_path):
    path = tmp_path / "a.mp4"
    assert write_video(path, frames(25, 65, 97), 12.5) == 25
    pixels = iio.imread(path, plugin="FFMPEG")
    meta = iio.immeta(path, plugin="FFMPEG")
    assert pixels.shape == (25, 64, 96, 3)  # odd sizes lose a row and a column
    assert meta["fps"] == 12.5 and abs(meta["duration"] - 2.0) < 0.01
    assert meta["codec"] == "h264" and "yuv420p" in meta["pix_fmt"]
    expected = np.arange(25)[:, None] / 25 * [255, 0, 0] + [0, 51, 51]
    assert np.abs(pixels.mean((1, 2)) - expected).max() < 4
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_reading_gives_back_what_was_written(tmp_path):
    write_video(tmp_path / "a.mkv", frames(7), 10, quality=0)
    decoded, fps, size = read_video(tmp_path / "a.mkv")
    assert fps == 10 and size == (64, 96) and len(list(decoded)) == 7


def test_failing_frames_leave_nothing(tmp_path):
    def broken():
        yield from frames(3)
        raise RuntimeError("renderer")

    with pytest.raises(RuntimeError, match="renderer"):
        write_video(tmp_path / "a.mp4", broken(), 10)
    with pytest.raises(InputError, match="no frames"):
        write_video(tmp_path / "a.mp4", iter(()), 10)
    with pytest.raises(InputError, match="should end in"):
        write_video(tmp_path / "a.txt", frames(1), 10)
    assert os.listdir(tmp_path) == []


def test_full_disk_keeps_its_error_code(tmp_path):
    """Every write to /dev/full fails with ENOSPC, also in another process."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from presence.io.video import _Encoder

    link = tmp_path / "a.mkv"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError) as caught, _Encoder(link, 10, 18) as encoder:
        for frame in frames(5):
            encoder.append(frame)
    assert caught.value.errno == errno.ENOSPC


def test_other_files_are_no_videos(tmp_path):
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(InputError, match="not a video"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="does not exist"):
        read_video(tmp_path / "b.mp4")
