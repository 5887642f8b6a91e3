"""Derives how MediaPipe's landmarks deviate on clothed people, from renders of known bodies."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from presence.cli import run_tool


def main(argv: list[str] | None = None) -> None:
    """Parses arguments, fits the correction, writes it and prints what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--body", default="annyx", help="bundled body name or body file")
    parser.add_argument("--out", type=Path, required=True, help="correction (.npz) to write")
    parser.add_argument("--people", type=int, default=1413, help="clothed people to look at")
    parser.add_argument("--held-out", type=int, default=100, help="further people to judge it by")
    args = parser.parse_args(argv)

    from presence.bodies import load_body
    from presence.tracking.correction_fitting import fit_correction, seen_people, summarize
    from presence.tracking.landmark_clothed import clothed_people
    from presence.tracking.landmarks import LandmarkMap
    from presence_plugins.trackers.mediapipe_landmarks import watcher

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    body, watch = load_body(args.body), watcher()
    landmarks = LandmarkMap.load(args.body)
    people = clothed_people(body, args.people)
    correction = fit_correction(body, landmarks, seen_people(people, watch))
    correction.save(args.out)
    others = clothed_people(body, args.held_out, first=args.people)
    print(summarize(correction, body, landmarks, seen_people(others, watch)))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
