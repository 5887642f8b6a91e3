"""Derives where MediaPipe's landmarks lie on a body model, by detecting them on its renders."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from presence.cli import run_tool


def main(argv: list[str] | None = None) -> None:
    """Parses arguments, builds the map, writes it and prints the spreads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--body", default="annyx", help="bundled body name or body file")
    parser.add_argument("--out", type=Path, required=True, help="landmark map (.npz) to write")
    parser.add_argument("--renders", type=int, default=200, help="renders for each landmark set")
    parser.add_argument("--clothed", type=int, default=200, help="clothed people, 0 for none")
    parser.add_argument("--bare", type=Path, help="go on from this map of bare renders (.npz)")
    args = parser.parse_args(argv)

    from presence.bodies import load_body
    from presence.tracking.landmark_building import derive_landmarks, summarize
    from presence_plugins.trackers.mediapipe_landmarks import render_detectors

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    landmarks = derive_landmarks(
        load_body(args.body),
        render_detectors(),
        renders=args.renders,
        clothed=args.clothed,
        bare=args.bare,
    )
    landmarks.save(args.out)
    print(summarize(landmarks))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
