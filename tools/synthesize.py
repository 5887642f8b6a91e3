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
    from presence.datasets import export_source
    from presence.errors import ConfigError
    from presence.registry import DATASETS
    from presence.synthesis.export import export_people

    config = load_config(arguments.config, arguments.overrides)
    splits = config.get("data", {})
    if arguments.split not in splits:
        known = ", ".join(sorted(splits)) or "none"
        raise ConfigError(f"config has no data split `{arguments.split}`; it has: {known}")
    source = DATASETS.build(splits[arguments.split])
    if arguments.multiview:
        people = export_source(source, arguments.subjects, arguments.out)
        print(f"wrote {len(people)} people to {arguments.out}, such as {people[0]}")
        return
    files = export_people(source, arguments.subjects, arguments.out)
    print(f"wrote {len(files)} files to {arguments.out}, overview in {files[-1]}")


if __name__ == "__main__":
    run_tool(main)
