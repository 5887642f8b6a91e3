"""Tracks the person in a picture: body parameters, camera and landmarks in one file."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> int:
    """Parses arguments, tracks, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", metavar="IMAGE", help="picture of one person")
    parser.add_argument("--out", required=True, metavar="FILE", help="tracking (.npz) to write")
    parser.add_argument("--overlay", metavar="FILE", help="picture (.png) with the body over it")
    parser.add_argument("--mask", metavar="FILE", help="the person's mask (.png)")
    parser.add_argument("--tracker", default="MediaPipeTracker", help="default: %(default)s")
    parser.add_argument("--fov", type=float, default=20.0, help="degrees across the longer side")
    arguments = parser.parse_args()

    from presence.io.images import load_portrait

    portrait = load_portrait(arguments.image)

    from presence.tracking.running import track_picture

    tracker = dict(type=arguments.tracker, fov=arguments.fov)
    done = track_picture(
        portrait, tracker, arguments.out, overlay=arguments.overlay, mask=arguments.mask
    )
    for note in done.notes:
        print(f"note: {note}")
    seen = ", ".join(f"{part} {share:.2f}" for part, share in done.visibility.items())
    print(f"seen: {seen}")
    written = [arguments.out, arguments.overlay, arguments.mask]
    print(f"Wrote {', '.join(path for path in written if path)}.")
    return 0


if __name__ == "__main__":
    run_tool(main)
