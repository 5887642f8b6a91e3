"""Measures a trained model: `python tools/test.py CONFIG CHECKPOINT [key=value ...]`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, measures, and prints the table and the files."""
    parser = argparse.ArgumentParser(
        description="Measure a model on its config's data.test: table, JSON, pictures."
    )
    parser.add_argument("config", help="a config file")
    parser.add_argument(
        "checkpoint", help="weights.safetensors or iter_N.pth; `none` for methods without weights"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as data.test.num_subjects=10"
    )
    parser.add_argument("--out", default="outputs/test", help="folder to write (%(default)s)")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="CONFIG",
        help="also measure this config, which needs no weights; may be repeated",
    )
    parser.add_argument("--pictures", type=int, default=8, help="a method (%(default)s)")
    args = parser.parse_intermixed_args()

    from presence.config import load_config
    from presence.evaluation.protocol import run_test

    report = run_test(
        load_config(args.config, args.overrides),
        None if args.checkpoint == "none" else args.checkpoint,
        out=args.out,
        baselines=[load_config(path) for path in args.baseline],
        pictures=args.pictures,
        progress=True,
    )
    print(report.table)
    print(f"\nwrote {len(report.files)} files to {args.out}")


if __name__ == "__main__":
    run_tool(main)
