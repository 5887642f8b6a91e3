"""Discovery of plugins: bundled files, pip entry points, a user's files, and broken ones."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from presence import plugins
from presence.config import load_config
from presence.errors import ConfigError, PresenceError
from presence.registry import ALL, DATASETS

GOOD = """
from presence.registry import DATASETS

@DATASETS.register()
class {name}:
    def __init__(self, size: int = 3) -> None:
        self.size = size
"""


@pytest.fixture
def forget():
    """Takes out of the registry what a test put in."""
    before = {kind: set(registry.module_dict) for kind, registry in ALL.items()}
    yield
    for kind, registry in ALL.items():
        for name in set(registry.module_dict) - before[kind]:
            registry.module_dict.pop(name)


def _config(tmp_path, plugin, text):
    (tmp_path / plugin).write_text(text)
    path = tmp_path / "config.py"
    path.write_text(f"plugins = ['{plugin}']\ndata = dict(type='{plugin.removesuffix('.py')}')\n")
    return path


def test_a_users_file_is_found_beside_its_config(tmp_path, forget):
    path = _config(tmp_path, "MyPeople.py", GOOD.format(name="MyPeople"))
    config = load_config(path, ["data.size=5"])
    assert DATASETS.build(config.data).size == 5
    load_config(path)  # a second time: not registered twice


def test_files_of_one_name_in_two_folders_are_two_plugins(tmp_path, forget):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        load_config(_config(tmp_path / folder, "people.py", GOOD.format(name=folder.title())))
    assert {"First", "Second"} <= set(DATASETS.names())


def test_a_users_file_that_is_missing_is_named(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("plugins = ['gone.py']\n")
    with pytest.raises(ConfigError, match="plugin file .*gone.py does not exist"):
        load_config(path)


def test_a_users_file_that_breaks_is_named(tmp_path):
    path = _config(tmp_path, "Broken.py", "import no_such_package_at_all\n")
    with pytest.raises(PresenceError, match="Broken.py .*no_such_package_at_all"):
        load_config(path)


def test_the_bundled_plugins_load():
    plugins.load_plugins()
    assert [f for f in plugins.failures() if f.name.startswith("presence_plugins")] == []
    assert any(name.startswith("presence_plugins.") for name in plugins.loaded_plugins())


def test_a_broken_plugin_is_named_and_does_not_stop_the_others(tmp_path):
    """In a process of its own: bundled folders and entry points are read once a process."""
    bundled = tmp_path / "presence_plugins"
    for kind in plugins.KINDS:
        (bundled / kind).mkdir(parents=True)
        (bundled / kind / "__init__.py").write_text("")
    (bundled / "__init__.py").write_text("")
    (bundled / "datasets" / "broken.py").write_text("import no_such_package_at_all\n")
    (bundled / "datasets" / "good.py").write_text(GOOD.format(name="GoodPeople"))
    (bundled / "datasets" / "_helper.py").write_text("raise RuntimeError('must not load')\n")
    site = tmp_path / "site"
    site.mkdir()
    (site / "from_pip.py").write_text(GOOD.format(name="PipPeople"))
    (site / "with_hook.py").write_text(
        textwrap.dedent(
            """
            from presence.plugins import hookimpl

            class HookPeople:
                pass

            @hookimpl
            def presence_register(registries):
                registries["dataset"].register()(HookPeople)
            """
        )
    )
    info = site / "research-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: research\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[presence.plugins]\nfrom_pip = from_pip\nwith_hook = with_hook\nheavy = not_installed\n"
    )
    script = """
        from presence.registry import DATASETS
        from presence.plugins import failures, loaded_plugins
        from presence.errors import ConfigError
        for name in ("GoodPeople", "PipPeople", "HookPeople"):
            DATASETS.build(dict(type=name))
        try:
            DATASETS.build(dict(type="GodPeople"))
        except ConfigError as error:
            print(error)
        print(sorted(f.name for f in failures()))
        print([n for n in loaded_plugins() if n in ("from_pip", "with_hook")])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={"PYTHONPATH": f"{tmp_path}:{site}", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    message, failed, loaded = done.stdout.splitlines()
    assert "unknown dataset `GodPeople`. Did you mean `GoodPeople`?" in message
    assert (
        "Skipped plugin presence_plugins.datasets.broken "
        "(ModuleNotFoundError: No module named 'no_such_package_at_all')." in message
    )
    assert "Skipped plugin heavy (ModuleNotFoundError: No module named 'not_installed')." in message
    assert failed == "['heavy', 'presence_plugins.datasets.broken']"
    assert loaded == "['from_pip', 'with_hook']"


def test_the_plugins_folder_cannot_be_imported_under_its_bare_name(tmp_path):
    from pathlib import Path

    done = subprocess.run(
        [sys.executable, "-c", "import plugins"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "import this package as `presence_plugins`" in done.stderr


def test_a_misspelt_hook_argument_is_refused():
    """The pluggy specification is checked when a plugin registers."""
    import types

    module = types.ModuleType("wrong")

    @plugins.hookimpl
    def presence_register(registry_typo):
        pass

    module.presence_register = presence_register
    with pytest.raises(Exception, match="registry_typo"):
        plugins._register("wrong", module)
