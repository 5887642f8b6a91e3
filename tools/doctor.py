"""Prints what this machine has and what is missing: `python tools/doctor.py`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Prints environment, packages, components and every external file."""
    parser = argparse.ArgumentParser(description="Print what this machine has and what is missing.")
    parser.add_argument(
        "--no-checksums", action="store_true", help="do not read large files to check them"
    )
    args = parser.parse_args()

    from presence.doctor import report

    print(report(checksums=not args.no_checksums))


if __name__ == "__main__":
    run_tool(main)
