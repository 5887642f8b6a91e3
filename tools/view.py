"""Shows an avatar in the browser: turn it with the mouse, Ctrl-C ends."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> int:
    """Parses arguments and serves the avatar's page on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", metavar="AVATAR", help="avatar.safetensors of a reconstruction")
    parser.add_argument(
        "--pose", default="portrait", help="portrait, or rest: the T-pose (default: %(default)s)"
    )
    parser.add_argument(
        "--motion",
        help="what it plays: talk, walk, wave, or what tools/animate.py takes",
    )
    parser.add_argument(
        "--background",
        default="white",
        help="#rrggbb, white, black, grey or green (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=8765, help="0 takes any that is free (default: %(default)s)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--body", help="body model file, where the avatar was not made with AnnyX")
    arguments = parser.parse_args()

    from presence.pipeline.exporting import avatar_page
    from presence.viewer import serve_page

    page, count = avatar_page(
        arguments.avatar,
        pose=arguments.pose,
        motion=arguments.motion,
        background=arguments.background,
        body=arguments.body,
    )

    def say(address: str) -> None:
        print(f"{address} shows {count} Gaussians; Ctrl-C ends", flush=True)

    serve_page(page, port=arguments.port, browser=not arguments.no_browser, started=say)
    return 0


if __name__ == "__main__":
    run_tool(main)
