"""Trains a model: `python tools/train.py CONFIG [key=value ...]`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, trains, and prints where the weights are."""
    parser = argparse.ArgumentParser(description="Train the model of a config.")
    parser.add_argument("config", help="a config file, such as configs/dualuv_tiny.py")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as schedule.iterations=300"
    )
    parser.add_argument("--work-dir", help="where to write (default: work_dirs/<config>)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="CHECKPOINT",
        help="continue the newest checkpoint of the work dir, or the one that is named",
    )
    parser.add_argument(
        "--launcher", default="none", help="`pytorch` when started by torchrun (default: none)"
    )
    args = parser.parse_intermixed_args()

    from presence.config import load_config
    from presence.engine import train

    weights = train(
        load_config(args.config, args.overrides),
        work_dir=args.work_dir,
        resume=args.resume,
        launcher=args.launcher,
    )
    if weights is not None:
        print(f"wrote {weights} ({weights.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_tool(main)
