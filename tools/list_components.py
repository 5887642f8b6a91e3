"""Lists what configs can name: `python tools/list_components.py [KIND]`."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Prints every registered component, and the plugins that were skipped."""
    parser = argparse.ArgumentParser(description="List every component that a config can name.")
    parser.add_argument("kind", nargs="?", help="only this kind, such as decoder")
    args = parser.parse_args()

    from presence.components import list_components

    print(list_components(args.kind))


if __name__ == "__main__":
    run_tool(main)
