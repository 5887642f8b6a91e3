"""Turns another project's released file into weights of ours: `import_weights.py CONFIG FILE`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, converts, and prints what it wrote."""
    parser = argparse.ArgumentParser(
        description="Convert a released checkpoint (LHM, LAM, ...) to weights for our tools."
    )
    parser.add_argument(
        "config", help="a config of the released size, such as those in configs/official"
    )
    parser.add_argument("file", help="the released file, or its name in configs/assets.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--out", default="weights.safetensors", help="file to write (%(default)s)")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16")
    args = parser.parse_intermixed_args()

    import torch

    from presence.config import load_config
    from presence.models.official import import_weights

    config = load_config(args.config, args.overrides)
    print(f"wrote {import_weights(config, args.file, args.out, getattr(torch, args.dtype))}")


if __name__ == "__main__":
    run_tool(main)
