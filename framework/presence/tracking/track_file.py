"""`track_file`: tracks a picture or a video by its name, as `tools/track.py` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from presence.errors import ConfigError

if TYPE_CHECKING:  # torch and the detectors take seconds to load: a bad file is refused before
    from presence.tracking.turned_views import Facing


@dataclasses.dataclass(frozen=True)
class TrackedFile:
    """What was found and written.

    Attributes:
        notes: one line a decision.
        summary: what was seen, one line.
        files: in order of the arguments.
    """

    notes: tuple[str, ...]
    summary: str
    files: tuple[str, ...]


def track_file(
    source: str | Path,
    tracker: Mapping[str, Any],
    out: str | Path,
    *,
    body: str | Path = "annyx",
    overlay: str | Path | None = None,
    mask: str | Path | None = None,
    facing: Facing | None = None,
    front: str | Path | None = None,
    fps: float | None = None,
    one_euro: bool = False,
    sapiens_every: int | None = None,
    device: str = "cpu",
) -> TrackedFile:
    """Tracks a picture, a video or a folder of a video's frames.

    Args:
        source: the file or folder.
        tracker: config of the tracker.
        out: tracking file (.npz).
        body: the body to fit, as `load_body` takes it.
        overlay: picture or video of the body over the source.
        mask: picture of the person's mask; of a picture.
        facing: of a side or back view, see `track_picture`.
        front: tracking file of that person's front view.
        fps: frames a second of a folder.
        one_euro: filter a video's result.
        sapiens_every: with its file, Sapiens looks at every so many-th frame of a video, and at
            keyframes; 0 for these alone, None for the usual number.
        device: where estimators' networks and the refinement's stages run.

    Raises:
        InputError: the source cannot be used, or nobody is in it.
        ConfigError: an option is for the other kind of source.
    """
    from presence.io.video import VIDEO_SUFFIXES

    path = Path(source)
    if not (path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES):
        from presence.io.images import load_portrait

        portrait = load_portrait(path)

        from presence.pipeline.player import resolve_device
        from presence.tracking.running import track_picture

        place = str(resolve_device(device))
        views = dict(mask=mask, facing=facing, front=front)
        options = dict(body=body, overlay=overlay, device=place, **views)
        done = track_picture(portrait, tracker, out, **options)  # type: ignore[arg-type]
        seen = ", ".join(f"{part} {share:.2f}" for part, share in done.visibility.items())
        return TrackedFile(done.notes, f"seen: {seen}", _files(out, overlay, mask))
    for name, value in (("mask", mask), ("facing", facing), ("front", front)):
        if value:
            raise ConfigError(f"--{name} is for pictures, {source} is a video")

    from presence.pipeline.player import resolve_device
    from presence.tracking.running import track_video
    from presence.tracking.video import VideoOptions

    settings = VideoOptions(one_euro=one_euro, device=str(resolve_device(device)))
    if sapiens_every is not None:
        settings = dataclasses.replace(settings, sapiens_every=sapiens_every)
    found = track_video(path, tracker, out, body=body, overlay=overlay, fps=fps, options=settings)
    summary = f"tracked: {found.tracked} of {found.frames} frames at {found.fps:g} a second"
    return TrackedFile(found.notes, summary, _files(out, overlay))


def _files(*paths: str | Path | None) -> tuple[str, ...]:
    return tuple(str(path) for path in paths if path)
