"""Tracks the person in a picture or video: body parameters, camera and landmarks in one file."""

from __future__ import annotations

import argparse

from presence.cli import run_tool
from presence.tracking.default import DEFAULT_TRACKER


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
    parser.add_argument("--tracker", default=DEFAULT_TRACKER, help="default: %(default)s")
    parser.add_argument(
        "--body",
        default="annyx",
        help="annyx, smplx or the path of your own SMPL-X file (default: %(default)s)",
    )
    parser.add_argument(
        "--landmarks", metavar="FILE", help="of tools/build_landmarks.py, for another body"
    )
    parser.add_argument("--fov", type=float, default=20.0, help="degrees across the longer side")
    parser.add_argument("--fps", type=float, help="of a folder (default: 25)")
    parser.add_argument(
        "--filter", choices=["none", "one-euro"], default="none", help="of a video's result"
    )
    parser.add_argument(
        "--sapiens-every",
        type=int,
        metavar="N",
        help="of a video, with Sapiens' file: it looks at every N-th frame, and at keyframes "
        "(default: 2; 0: keyframes alone)",
    )
    parser.add_argument("--device", default="cpu", help="of networks and refinement: cpu or cuda")
    arguments = parser.parse_args()
    tracker = {"type": arguments.tracker, "fov": arguments.fov}
    if arguments.landmarks:
        tracker["landmarks"] = arguments.landmarks

    from presence.tracking.track_file import track_file

    done = track_file(
        arguments.source,
        tracker,
        arguments.out,
        body=arguments.body,
        overlay=arguments.overlay,
        mask=arguments.mask,
        facing=arguments.facing,
        front=arguments.front,
        fps=arguments.fps,
        one_euro=arguments.filter == "one-euro",
        sapiens_every=arguments.sapiens_every,
        device=arguments.device,
    )
    for note in done.notes:
        print(f"note: {note}")
    print(done.summary)
    print(f"Wrote {', '.join(done.files)}.")
    return 0


if __name__ == "__main__":
    run_tool(main)
