"""An avatar file and a motion to a video."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.io.avatar import load_avatar
from presence.io.video import check_video_path, write_video
from presence.motion import retarget
from presence.pipeline.player import AvatarPlayer, load_body_for, resolve_device
from presence.pipeline.reenactment import find_driver
from presence.pipeline.views import plan_cameras

_log = logging.getLogger(__name__)
_SAMPLED = 24  # frames from which the framing is decided


@dataclass(frozen=True)
class AnimationResult:
    """What `animate` wrote.

    Attributes:
        path: the video.
        frames: its number of frames.
        fps: frames a second.
        seconds: how long it took to make.
    """

    path: Path
    frames: int
    fps: float
    seconds: float


def animate(
    avatar_path: str | Path,
    motion: str,
    out: str | Path,
    *,
    view: str = "portrait",
    fps: float | None = None,
    size: int = 512,
    background: str = "#ffffff",
    device: str | torch.device = "cpu",
    body: str | None = None,
    progress: bool = True,
    tracker: Mapping[str, Any] | None = None,
) -> AnimationResult:
    """Renders an avatar in motion.

    Args:
        avatar_path: what `reconstruct` wrote.
        motion: a built-in name ("wave", "talk", "walk"), a motion file (.npz), or another person:
            their tracking (.npz), a picture or a video; see
            `presence.pipeline.reenactment.find_driver`.
        out: the video to write, such as `wave.mp4`.
        view: framing, see `presence.pipeline.views.plan_cameras`.
        fps: frames a second; None takes the motion's own (24 for built-in ones).
        size: side of the video, px.
        background: `#rrggbb`, or white, black, grey, green.
        device: "cpu" or "cuda".
        body: the body model's file, where it does not come with the project.
        progress: show a progress bar.
        tracker: config of the tracker, for a picture or a video as the motion.

    Raises:
        PresenceError: an input cannot be used; nothing is written then.
    """
    check_video_path(out)
    place, colour = resolve_device(device), parse_colour(background)
    if fps is not None and not 0 < fps <= 240:
        raise ConfigError(f"frames a second should be above 0 and at most 240, got {fps:g}")
    if not 16 <= size <= 4096:
        raise ConfigError(f"size should be 16 to 4096 pixels, got {size}")
    clip = find_driver(motion, fps, tracker=tracker, progress=progress, device=str(place))
    avatar, header = load_avatar(avatar_path, place)
    model = load_body_for(str(header["body"]), body, place)
    player = AvatarPlayer(avatar, model)
    params = retarget(clip, avatar.body, getattr(model, "expression_names", ()))
    frames = len(clip)
    chosen = torch.linspace(0, frames - 1, min(frames, _SAMPLED)).round().long().unique().tolist()
    vertices = {i: player.mesh(params[i]).vertices for i in chosen}
    parts = model.vertex_parts
    cameras = plan_cameras(view, avatar.camera, vertices, parts, frames, size)
    start = time.perf_counter()
    pictures = player.frames((params[i] for i in range(frames)), cameras, colour.to(place))
    label = f"animating {clip.name}" if progress else ""
    write_video(out, pictures, clip.fps, count=frames, label=label)
    seconds = time.perf_counter() - start
    _log.info("wrote %s: %d frames at %g/s in %.1f s", out, frames, clip.fps, seconds)
    return AnimationResult(Path(out), frames, clip.fps, seconds)


_NAMED = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "green": "#00b140"}


def parse_colour(text: str) -> Tensor:
    """Reads `#rrggbb` or a name to [3] in 0..1.

    Raises:
        ConfigError: neither.

    Example:
        >>> parse_colour("#ff0000").tolist()
        [1.0, 0.0, 0.0]
    """
    digits = _NAMED.get(text, text).removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError(digits)
        return torch.tensor(list(bytes.fromhex(digits)), dtype=torch.float32) / 255
    except ValueError as error:
        raise ConfigError(
            f"unknown colour `{text}`, expected #rrggbb or one of {', '.join(_NAMED)}"
        ) from error
