"""Animates an avatar: an avatar file and a motion in, a video out."""

from __future__ import annotations

import argparse

from presence.cli import run_tool
from presence.tracking.default import DEFAULT_TRACKER


def main() -> int:
    """Parses arguments, animates, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", metavar="AVATAR", help="avatar.safetensors of a reconstruction")
    parser.add_argument(
        "--motion",
        required=True,
        help="talk, walk, wave; a motion file (.npz, SMPL-X names); or another person to follow: "
        "a tracking (.npz of tools/track.py), a picture or a video",
    )
    parser.add_argument("--out", required=True, metavar="VIDEO", help="such as wave.mp4")
    parser.add_argument(
        "--view",
        default="portrait",
        help="portrait, head, full, orbit or turntable (default: %(default)s)",
    )
    parser.add_argument("--fps", type=float, help="frames a second (default: the motion's own)")
    parser.add_argument("--size", type=int, default=512, help="side in pixels (%(default)s)")
    parser.add_argument(
        "--background",
        default="white",
        help="#rrggbb, white, black, grey or green (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--tracker",
        default=DEFAULT_TRACKER,
        help="for a picture or a video (default: %(default)s)",
    )
    parser.add_argument("--body", help="body model file, where the avatar was not made with AnnyX")
    arguments = parser.parse_args()

    from presence.pipeline import animate

    done = animate(
        arguments.avatar,
        arguments.motion,
        arguments.out,
        view=arguments.view,
        fps=arguments.fps,
        size=arguments.size,
        background=arguments.background,
        device=arguments.device,
        body=arguments.body,
        tracker={"type": arguments.tracker},
    )
    print(f"{done.path}: {done.frames} frames at {done.fps:g} a second, in {done.seconds:.1f} s")
    return 0


if __name__ == "__main__":
    run_tool(main)
