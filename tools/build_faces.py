"""Derives how MediaPipe's face meshes deviate on people, from renders of known bodies."""

from __future__ import annotations

import argparse
from pathlib import Path

from presence.cli import run_tool


def main(argv: list[str] | None = None) -> None:
    """Parses arguments, fits the correction, writes it and prints what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--body", default="annyx", help="bundled body name or body file")
    parser.add_argument("--out", type=Path, required=True, help="correction (.npz) to write")
    parser.add_argument("--people", type=int, default=1413, help="people to look at")
    parser.add_argument("--held-out", type=int, default=100, help="further people to judge it by")
    args = parser.parse_args(argv)

    from presence.bodies import load_body
    from presence.tracking.correction_fitting import seen_people
    from presence.tracking.face_correction import FaceCorrection
    from presence.tracking.face_fitting import face_errors, fit_faces
    from presence.tracking.landmark_clothed import clothed_people
    from presence.tracking.landmarks import LandmarkMap
    from presence_plugins.trackers.mediapipe_landmarks import watcher

    body, watch = load_body(args.body), watcher()
    landmarks = LandmarkMap.load(args.body)
    people = clothed_people(body, args.people)
    fit_faces(body, landmarks, seen_people(people, watch)).save(args.out)
    others = clothed_people(body, args.held_out, first=args.people)
    correction = FaceCorrection.load(args.out)
    errors = face_errors(correction, body, landmarks, seen_people(others, watch))
    before, after = errors.mean(0).tolist()
    print(
        f"{len(errors)} other people: face points {before:.2f}% of the face's box off, {after:.2f}%"
        f" corrected (medians {errors[:, 0].median():.2f} and {errors[:, 1].median():.2f}%)"
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
