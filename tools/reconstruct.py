"""Reconstructs pictures: one portrait in, an animatable avatar out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from presence.cli import run_tool
from presence.released import WEIGHTS


def main() -> int:
    """Parses arguments, reconstructs, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture of one person")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="several pictures: one folder each in DIR"
    )
    parser.add_argument(
        "--blend",
        action="store_true",
        help="the pictures show one person: one avatar of all (the first is the main one)",
    )
    parser.add_argument("--config", help="config file (default: the one that the weights carry)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a config key"
    )
    parser.add_argument(
        "--weights",
        default=str(WEIGHTS),
        help="default: the project's own, weights/dualuv_halfbody",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    arguments = parser.parse_args()

    # Fast checks first: the model takes seconds to load.
    from presence.pipeline import check_pictures, load_reconstructor, reconstruct

    check_pictures(arguments.images, blend=arguments.blend)
    loaded = load_reconstructor(
        arguments.weights, arguments.config, arguments.set, device=arguments.device
    )
    done, problems = reconstruct(arguments.images, arguments.out, loaded, blend=arguments.blend)
    for folder, report in done.items():
        print(_line(folder, report))
    for error in problems.values():
        print(f"error: {error}", file=sys.stderr)
    return 2 if problems else 0


def _line(folder: Path, report: dict) -> str:
    figures = report["metrics"]
    measured = [
        f"{label} {figures[name]:.{digits}f}{unit}"
        for name, label, digits, unit in (
            ("psnr", "PSNR", 1, " dB"),
            ("ssim", "SSIM", 3, ""),
            ("lpips", f"LPIPS ({figures['lpips_net']})", 3, ""),
        )
        if figures[name] is not None
    ]
    seconds = report["seconds_to_avatar"]
    files = ", ".join(report["files"])
    return f"{folder}: {'; '.join(measured)}; avatar after {seconds:.1f} s. Wrote {files}."


if __name__ == "__main__":
    run_tool(main)
