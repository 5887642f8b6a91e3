"""What a wheel would hold: every package of the source is named in setup.cfg."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def packages_below(folder: str, name: str) -> set[str]:
    top = ROOT / folder
    parents = [path.parent.relative_to(top) for path in top.rglob("__init__.py")]
    return {".".join([name, *parent.parts]) for parent in parents}


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = packages_below("framework/presence", "presence")
    found |= packages_below("plugins", "presence_plugins")
    assert set(listed) == found
    assert len(listed) == len(set(listed))
