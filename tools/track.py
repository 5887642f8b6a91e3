"""Tracks the person in a picture or video: body parameters, camera and landmarks in one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from presence.cli import run_tool


def main() -> int:
    """Parses arguments, tracks, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source",
        metavar="IMAGE|VIDEO|FOLDER",
        help="picture of one person, a video, or a folder with a video's frames as pictures; a "
        "video that was stopped half-way goes on when it is called again",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="tracking (.npz) to write")
    parser.add_argument(
        "--overlay", metavar="FILE", help="picture (.png) or video (.mp4) with the body over it"
    )
    parser.add_argument("--mask", metavar="FILE", help="the person's mask (.png), of a picture")
    parser.add_argument(
        "--facing",
        choices=["left", "right", "back"],
        help="of a side or back view: where the person looks",
    )
    parser.add_argument("--front", metavar="FILE", help="tracking of that person's front view")
    parser.add_argument("--tracker", default="MediaPipeTracker", help="default: %(default)s")
    parser.add_argument("--fov", type=float, default=20.0, help="degrees across the longer side")
    parser.add_argument("--fps", type=float, help="of a folder (default: 25)")
    parser.add_argument(
        "--filter", choices=["none", "one-euro"], default="none", help="of a video's result"
    )
    parser.add_argument("--device", default="cpu", help="of a video's refinement: cpu or cuda")
    arguments = parser.parse_args()

    from presence.io.video import VIDEO_SUFFIXES

    source = Path(arguments.source)
    if source.is_dir() or source.suffix.lower() in VIDEO_SUFFIXES:
        return _video(arguments)
    return _picture(arguments)


def _picture(arguments: argparse.Namespace) -> int:
    from presence.io.images import load_portrait

    portrait = load_portrait(arguments.source)

    from presence.tracking.running import track_picture

    tracker = dict(type=arguments.tracker, fov=arguments.fov)
    done = track_picture(
        portrait,
        tracker,
        arguments.out,
        overlay=arguments.overlay,
        mask=arguments.mask,
        facing=arguments.facing,
        front=arguments.front,
    )
    for note in done.notes:
        print(f"note: {note}")
    seen = ", ".join(f"{part} {share:.2f}" for part, share in done.visibility.items())
    print(f"seen: {seen}")
    written = [arguments.out, arguments.overlay, arguments.mask]
    print(f"Wrote {', '.join(path for path in written if path)}.")
    return 0


def _video(arguments: argparse.Namespace) -> int:
    from presence.errors import ConfigError

    for name in ("mask", "facing", "front"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name} is for pictures, {arguments.source} is a video")

    from presence.pipeline.player import resolve_device
    from presence.tracking.running import track_video
    from presence.tracking.video import VideoOptions

    options = VideoOptions(
        one_euro=arguments.filter == "one-euro", device=str(resolve_device(arguments.device))
    )
    done = track_video(
        arguments.source,
        dict(type=arguments.tracker, fov=arguments.fov),
        arguments.out,
        overlay=arguments.overlay,
        fps=arguments.fps,
        options=options,
    )
    for note in done.notes:
        print(f"note: {note}")
    print(f"tracked: {done.tracked} of {done.frames} frames at {done.fps:g} a second")
    written = [arguments.out, arguments.overlay]
    print(f"Wrote {', '.join(path for path in written if path)}.")
    return 0


if __name__ == "__main__":
    run_tool(main)
