"""Clips on disk: videos or folders of pictures, from which single frames are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from presence.datasets.multiview import PICTURES, masked_portrait
from presence.errors import ConfigError, InputError
from presence.io.images import load_portrait
from presence.io.video import count_frames, read_frames
from presence.structures import Portrait

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


def check_moments(reference: float, target: float) -> None:
    """Raises ConfigError unless both moments are shares of a clip, 0..1."""
    for name, value in (("reference", reference), ("target", target)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} should be a share of the clip, 0..1, is {value}")


def portrait_of(pixels: np.ndarray, mask: np.ndarray | None = None) -> Portrait:
    """Converts a frame [H W 3] and a mask [H W] of bytes to a portrait, on the CPU."""
    rgb = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255
    if mask is None:
        return Portrait(rgb, torch.ones_like(rgb[:1]))
    return Portrait(rgb, torch.from_numpy(np.array(mask)).float()[None] / 255)


def clip_pictures(clip: Path) -> list[Path]:
    """Lists the pictures of a folder in the order of their names, without masks."""
    return [
        path
        for path in sorted(clip.iterdir())
        if path.suffix.lower() in PICTURES and not path.stem.endswith("_mask")
    ]


def read_moments(clip: Path, moments: tuple[float, ...]) -> list[Portrait]:
    """Reads frames of a clip, a single picture included.

    Args:
        clip: a video, a folder of pictures in the order of their names, or a picture. A picture's
            mask may lie beside it as `<name>_mask.png`.
        moments: shares of the clip, 0 for the first and 1 for the last frame.

    Returns:
        One portrait for each moment that is another frame than those before; a picture gives one.

    Raises:
        InputError: it cannot be read, or the folder is empty.
    """
    if clip.is_dir() or clip.suffix.lower() in PICTURES:
        files = clip_pictures(clip) if clip.is_dir() else [clip]
        if not files:
            raise InputError(f"{clip} holds no pictures")
        return [_picture(files[index]) for index in _indices(len(files), moments)]
    frames = read_frames(clip, _indices(count_frames(clip), moments))
    return [portrait_of(frame) for frame in frames]


def _indices(count: int, moments: tuple[float, ...]) -> list[int]:
    return list(dict.fromkeys(round(moment * (count - 1)) for moment in moments))


def _picture(path: Path) -> Portrait:
    mask = path.with_name(f"{path.stem}_mask.png")
    return masked_portrait(path, mask) if mask.is_file() else load_portrait(path)
