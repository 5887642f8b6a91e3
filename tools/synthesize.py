"""Writes generated people: pictures, masks, parameters and a contact sheet."""

from __future__ import annotations

import argparse

from presence.cli import run_tool


def main() -> None:
    """Parses arguments, makes the people, and says what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", metavar="CONFIG", help="config file with a `data` section")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a config key")
    parser.add_argument("--subjects", type=int, default=16, help="how many (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument(
        "--split", default="test", help="entry of `data` in the config (default: %(default)s)"
    )
    parser.add_argument(
        "--multiview",
        action="store_true",
        help="one folder a person with front, side and back views, as MultiViewFolder reads them",
    )
    arguments = parser.parse_args()

    from presence.config import load_config
    from presence.synthesis.export import export_split

    config = load_config(arguments.config, arguments.overrides)
    print(
        export_split(
            config,
            arguments.split,
            arguments.subjects,
            arguments.out,
            multiview=arguments.multiview,
        )
    )


if __name__ == "__main__":
    run_tool(main)
