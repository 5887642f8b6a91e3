"""Speed by stage beside its floor: `python tools/profile.py CONFIG [--device cuda]`."""

from __future__ import annotations

import argparse
import os

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, measures, and prints the table as it grows."""
    parser = argparse.ArgumentParser(
        description="Time each stage of a config's model and compare with counted work over the "
        "rates that the device reaches in the same run."
    )
    parser.add_argument("config", help="a config file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as model.decoder.blocks=2"
    )
    parser.add_argument("--device", default="cuda", help="cuda or cpu (%(default)s)")
    parser.add_argument("--iterations", type=int, default=20, help="timed calls (%(default)s)")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument(
        "--stages",
        nargs="+",
        default=["reconstruct", "animate", "train"],
        metavar="PART",
        help="reconstruct, animate, train (default: all)",
    )
    parser.add_argument("--size", type=int, help="side of the portraits in px (the data set's)")
    parser.add_argument("--batch", type=int, help="samples of a training step (the config's)")
    parser.add_argument(
        "--compile",
        default="default",
        choices=["none", "default", "max-autotune"],
        help="of the reconstruction session (%(default)s)",
    )
    parser.add_argument(
        "--launcher", default="none", help="`pytorch` when started by torchrun (default: none)"
    )
    args = parser.parse_intermixed_args()

    from presence.config import load_config
    from presence.profiling import profile

    profile(
        load_config(args.config, args.overrides),
        device=args.device,
        iterations=args.iterations,
        out=args.out,
        parts=args.stages,
        size=args.size,
        batch=args.batch,
        compile=args.compile,
        launcher=args.launcher,
    )
    if args.out and int(os.environ.get("RANK", 0)) == 0:
        print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
