"""Finds plugins: the project's own `plugins/<kind>/*.py`, pip entry points, and a user's files.

A plugin that cannot be imported never stops the others: its reason is kept, and shown by
`tools/list_components.py` and in the error for an unknown component.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import pkgutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from presence.errors import ConfigError

ENTRY_POINT_GROUP = "presence.plugins"
KINDS = ("encoders", "trackers", "decoders", "datasets")
# The framework's own components register when these modules are imported.
_BUILTIN = (
    "presence.bodies",
    "presence.rasterize",
    "presence.projection",
    "presence.rendering",
    "presence.losses",
    "presence.evaluation",
    "presence.benchmark",
    "presence.models",
)

hookspec = pluggy.HookspecMarker("presence")
hookimpl = pluggy.HookimplMarker("presence")
_log = logging.getLogger(__name__)


class PresenceSpec:
    """What a plugin may implement; registering by decorator at import needs none of it."""

    @hookspec
    def presence_register(self, registries: dict) -> None:
        """Called once after import; may add classes to any registry.

        Args:
            registries: kind (such as "decoder") to `presence.registry.Registry`.
        """


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that was found but not loaded, and why."""

    name: str
    reason: str


_manager = pluggy.PluginManager("presence")
_manager.add_hookspecs(PresenceSpec)
_failures: list[PluginFailure] = []
_state = {"loaded": False}


def failures() -> tuple[PluginFailure, ...]:
    """Returns the plugins that were found but could not be loaded."""
    return tuple(_failures)


def loaded_plugins() -> list[str]:
    """Returns the names of the plugins that were loaded, in order of loading."""
    return [name for name, _ in _manager.list_name_plugin()]


def load_plugins() -> None:
    """Loads the framework's components, `presence_plugins` and all entry points, once."""
    if _state["loaded"]:
        return
    _state["loaded"] = True
    for name in _BUILTIN:
        importlib.import_module(name)
    for name in _bundled_module_names():
        _load(name, functools.partial(importlib.import_module, name))
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        _load(entry.name, entry.load)


def load_plugin_file(path: str | Path) -> None:
    """Imports one Python file of the user's as a plugin (config key `plugins`).

    Unlike discovered plugins, a file that was asked for by name must load: its error is raised.
    """
    path = Path(path).resolve()
    name = f"presence_user_plugins.{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"plugin file {path} does not exist or is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path} line {inside[-1]}" if inside else str(path)
        raise ConfigError(f"plugin file {where}: {type(error).__name__}: {error}") from error
    _register(str(path), module)


def _bundled_module_names() -> list[str]:
    try:
        root = importlib.import_module("presence_plugins")
    except ModuleNotFoundError:
        return []
    names = []
    for kind in KINDS:
        for folder in root.__path__:
            found = pkgutil.iter_modules([str(Path(folder) / kind)])
            names += [f"presence_plugins.{kind}.{m.name}" for m in found if m.name[0] != "_"]
    return sorted(names)


def _load(name: str, loader: Callable[[], Any]) -> None:
    try:
        _register(name, loader())
    except Exception as error:  # a broken plugin must not take the others down
        _failures.append(PluginFailure(name, f"{type(error).__name__}: {error}"))
        _log.warning("skipped plugin %s (%s: %s)", name, type(error).__name__, error)


def _register(name: str, plugin: ModuleType | object) -> None:
    from presence.registry import ALL

    _manager.register(plugin, name=name)
    for caller in _manager.hook.presence_register.get_hookimpls():
        if caller.plugin is plugin:
            caller.function(registries=ALL)
