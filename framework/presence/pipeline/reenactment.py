"""What drives an avatar: a built-in motion, a motion file, or another person's tracking."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from presence.bodies.loading import EMBEDDED
from presence.io.images import PICTURE_SUFFIXES
from presence.io.motion import load_motion
from presence.io.video import VIDEO_SUFFIXES
from presence.motion import Motion, find_motion, motion_from_tracking
from presence.tracking.default import tracker_config


def find_driver(
    source: str,
    fps: float | None = None,
    *,
    tracker: Mapping[str, Any] | None = None,
    progress: bool = False,
    device: str = "cpu",
) -> Motion:
    """Returns the motion that a name or file stands for.

    Args:
        source: a built-in motion; a motion file (.npz); a tracking file of tools/track.py (.npz),
            whose person is followed as far as they were seen; or a picture or video of a
            person, who is tracked first.
        fps: frames a second; None takes a file's own, or 24.
        tracker: config of the tracker for pictures and videos; the default one if None.
        progress: show a progress bar while a video is tracked.
        device: where estimators' networks and the refinement's stages run.

    Raises:
        InputError: none of these, or nobody is in the picture.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _from_video(path, fps, tracker, progress=progress, device=device)
    if suffix in PICTURE_SUFFIXES:
        return _from_picture(path, fps or 24.0, tracker, device)
    return _from_file(source, path, fps)


def _from_file(source: str, path: Path, fps: float | None) -> Motion:
    suffix = path.suffix.lower()
    facts = _tracking_facts(path) if suffix == ".npz" and path.is_file() else None
    if facts is None:
        return find_motion(source, fps)
    motion = load_motion(path)
    visibility, body_name = facts
    names = motion.expression_names or _expression_names(body_name)
    if len(motion) > 1:
        driven = motion_from_tracking(
            motion.body, visibility, expression_names=names, fps=motion.fps, name=path.stem
        )
        return driven if fps is None else driven.resampled(fps)
    return motion_from_tracking(
        motion.body, visibility, expression_names=names, fps=fps or 24.0, name=path.stem
    )


def _from_picture(path: Path, fps: float, tracker: Mapping[str, Any] | None, device: str) -> Motion:
    from presence.bodies import load_body
    from presence.io.images import load_portrait
    from presence.registry import TRACKERS

    portrait = load_portrait(path)
    body = load_body("annyx")
    built = TRACKERS.build(tracker_config(tracker), body=body, device=device)
    tracking = built(portrait)
    return motion_from_tracking(
        tracking.body.to("cpu"),
        tracking.visibility,
        expression_names=body.expression_names,
        fps=fps,
        name=path.stem,
    )


def _from_video(
    path: Path,
    fps: float | None,
    tracker: Mapping[str, Any] | None,
    *,
    progress: bool,
    device: str,
) -> Motion:
    from presence.tracking.running import track_video
    from presence.tracking.video import VideoOptions

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{path.stem}.npz"
        options = VideoOptions(device=device)
        track_video(path, tracker_config(tracker), out, options=options, progress=progress)
        return _from_file(str(out), out, fps)


def _tracking_facts(path: Path) -> tuple[dict[str, float], str] | None:
    """Visibility and body name if the file is a tracking, None for other motions."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if "cam_from_world" not in file or "visibility_names" not in file:
                return None
            names = [str(name) for name in file["visibility_names"]]
            # One row a picture; of a video the mean counts.
            shares = np.asarray(file["visibility"], np.float64).reshape(-1, max(1, len(names)))
            body_name = str(file["body_name"]) if "body_name" in file else ""
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None  # the reader of motions says what is wrong with it
    return dict(zip(names, shares.mean(0).tolist())), body_name


def _expression_names(body_name: str) -> tuple[str, ...]:
    if body_name not in EMBEDDED:
        return ()
    from presence.bodies import load_body

    return tuple(load_body(body_name).expression_names)
