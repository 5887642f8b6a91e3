"""Tracks a picture or a video and writes the results; `track_file` chooses between the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body, load_body
from presence.errors import ConfigError
from presence.io.images import save_png
from presence.io.motion import load_motion
from presence.io.video import check_video_path, write_video
from presence.rasterize import build_rasterizer
from presence.registry import TRACKERS
from presence.structures import BodyParams, Camera, Portrait, Tracking
from presence.tracking.files import load_tracking, read_shape, save_tracking
from presence.tracking.overlay import draw_overlay
from presence.tracking.turned_views import Facing, track_turned
from presence.tracking.video import FrameSource, VideoOptions, VideoTracker, open_frames
from presence.tracking.video.writing import VideoResult


def track_picture(
    portrait: Portrait,
    tracker: Mapping[str, Any],
    out: str | Path,
    *,
    body: str | Path = "annyx",
    overlay: str | Path | None = None,
    mask: str | Path | None = None,
    facing: Facing | None = None,
    front: str | Path | None = None,
    device: str = "cpu",
) -> Tracking:
    """Tracks one portrait and writes the tracking and, if asked, pictures.

    Args:
        portrait: unbatched.
        tracker: config of a tracker that has `track`.
        out: tracking file (.npz).
        body: the body to fit, as `load_body` takes it.
        overlay: picture (.png) of the body over the portrait.
        mask: picture (.png) of the person's mask.
        facing: of a side or back view, where the person looks; see `track_turned`.
        front: tracking file of the same person's front view, which such a view needs.
        device: where estimators' networks and the refinement's stages run, if the tracker's
            config does not say.

    Raises:
        InputError: nobody, or nothing usable, is in the picture, or `front` is of another body.
        ConfigError: only one of `facing` and `front` was given.
    """
    if (facing is None) != (front is None):
        raise ConfigError("a side or back view needs both --facing and --front")
    model = load_body(body)
    built = TRACKERS.build(tracker, body=model, device=device)
    if facing is None or front is None:
        cut_out, tracking = built.track(portrait)
    else:
        cut_out = portrait
        seen_before = load_tracking(front, body_name=model.name)
        tracking = track_turned(built, portrait, seen_before, facing, device=device)
    if overlay is not None:
        mesh = model(tracking.body)
        topology, rasterizer = model.topology, build_rasterizer("cpu")
        save_png(overlay, draw_overlay(portrait, mesh, tracking.camera, topology, rasterizer))
    if mask is not None:
        save_png(mask, cut_out.alpha)
    save_tracking(out, tracking, body_name=model.name)
    return tracking


def track_video(
    path: str | Path,
    tracker: Mapping[str, Any],
    out: str | Path,
    *,
    body: str | Path = "annyx",
    overlay: str | Path | None = None,
    fps: float | None = None,
    options: VideoOptions | None = None,
    progress: bool = True,
) -> VideoResult:
    """Tracks a video, or a folder of its frames, and writes the tracking and an overlay.

    Args:
        path: video file or folder of pictures of one size.
        tracker: config of a tracker with `detector`, `segmenter` and `fitter`.
        out: tracking file (.npz), one row a frame; finished chunks are kept in `OUT.parts` until
            it is written, so that a run that was stopped goes on.
        body: the body to fit, as `load_body` takes it.
        overlay: video (.mp4) of the body over the frames.
        fps: frames a second; None takes the video's own, 25 for a folder.
        options: settings; its device is where estimators' networks run too, if the tracker's
            config does not say.
        progress: show a progress bar.

    Raises:
        InputError: not a video, or nobody in any frame.
        ConfigError: the tracker cannot be used on videos.
    """
    if overlay is not None:
        check_video_path(overlay)
    source = open_frames(path, fps)
    options = options or VideoOptions()
    built = TRACKERS.build(tracker, body=load_body(body), device=options.device)
    missing = [n for n in ("detector", "segmenter", "fitter") if not hasattr(built, n)]
    if missing:
        kind = type(built).__name__
        raise ConfigError(f"tracker `{kind}` has no {', '.join(missing)}: it takes pictures only")
    result = VideoTracker(built, options)(source, out, label="tracking" if progress else "")
    if overlay is not None:
        frames = _overlays(source, load_motion(out).body, out, built.fitter.body)
        label = "overlay" if progress else ""
        write_video(overlay, frames, source.fps, count=result.frames, label=label)
    return result


def _overlays(
    source: FrameSource, params: BodyParams, out: str | Path, body: Body
) -> Iterator[Tensor]:
    with np.load(out, allow_pickle=False) as file:
        K, pose = torch.from_numpy(file["K"]), torch.from_numpy(file["cam_from_world"])
        person = read_shape(file)
    camera = Camera(K, pose, source.width, source.height)
    rasterizer = build_rasterizer("cpu")
    for number, frame in zip(range(params.batch_shape[0]), source.frames()):
        rgb = torch.tensor(frame).permute(2, 0, 1).float() / 255
        portrait = Portrait(rgb, torch.ones_like(rgb[:1]))
        mesh = body(params[number].replace(**person))
        yield draw_overlay(portrait, mesh, camera, body.topology, rasterizer)
