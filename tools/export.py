"""Exports an avatar for other programs: its Gaussians, or one web page that shows them."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> int:
    """Parses arguments, exports, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", metavar="AVATAR", help="avatar.safetensors of a reconstruction")
    parser.add_argument("--out", required=True, metavar="FILE", help="such as avatar.ply")
    parser.add_argument(
        "--format",
        help="ply (3D Gaussian splatting), splat (web viewers) or html (a page that shows the "
        "avatar); default: what FILE ends in",
    )
    parser.add_argument(
        "--pose",
        default="portrait",
        help="portrait, or rest: the T-pose at the origin (default: %(default)s)",
    )
    parser.add_argument(
        "--axes",
        default="y-up",
        help="of ply and splat: y-up, or y-down for programs made for captured scenes "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--motion",
        help="of the page: what it plays: talk, walk, wave, or what tools/animate.py takes",
    )
    parser.add_argument(
        "--background",
        default="white",
        help="of the page: #rrggbb, white, black, grey or green (default: %(default)s)",
    )
    parser.add_argument("--body", help="body model file, where the avatar was not made with AnnyX")
    arguments = parser.parse_args()

    from presence.pipeline.exporting import export_avatar

    done = export_avatar(
        arguments.avatar,
        arguments.out,
        format=arguments.format,
        pose=arguments.pose,
        axes=arguments.axes,
        motion=arguments.motion,
        background=arguments.background,
        body=arguments.body,
    )
    print(f"{done.path}: {done.count} Gaussians as {done.format}, {done.size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    run_tool(main)
