"""Runs a comparison: `python tools/benchmark.py CONFIG --out DIR [key=value ...]`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> int:
    """Parses arguments, measures, and prints the table and the files."""
    parser = argparse.ArgumentParser(
        description="Run the `benchmark` section of a config; again with the same folder, it goes "
        "on where it was stopped."
    )
    parser.add_argument("config", help="such as configs/benchmarks/halfbody.py")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as benchmark.subjects=10"
    )
    parser.add_argument("--out", required=True, help="folder to write")
    args = parser.parse_intermixed_args()

    from presence.benchmark import run_benchmark
    from presence.config import load_config

    report = run_benchmark(load_config(args.config, args.overrides), args.out)
    print(report.table)
    for name, reason in report.failures.items():
        print(f"failed: {name}: {reason}")
    print("\nwrote " + ", ".join(map(str, report.files)))
    return 1 if report.failures else 0


if __name__ == "__main__":
    run_tool(main)
