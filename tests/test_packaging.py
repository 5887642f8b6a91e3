"""What a wheel would hold: setup.cfg names every package of the source and every other file."""

import configparser
import fnmatch
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


def test_every_other_file_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    data = dict(config["options.package_data"])
    for path in (ROOT / "framework/presence").rglob("*"):
        made = path.suffix in (".py", ".pyc", ".nbi", ".nbc")
        if path.is_dir() or made:
            continue
        package = ".".join(path.parent.relative_to(ROOT / "framework").parts)
        patterns = [text.strip() for text in data.get(package, "").split(",")]
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), path
