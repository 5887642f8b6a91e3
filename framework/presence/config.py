"""Loads a config file (mmengine's text style) with overrides that may only name known keys."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from presence.errors import ConfigError, did_you_mean


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a config with its `_base_` files, then applies `key.sub=value` overrides.

    Args:
        path: a `.py` config file.
        overrides: dotted assignments; values are read as YAML, so `model.depth=4`,
            `data.seeds=[1,2]` and `name=null` mean what they look like.

    Returns:
        mmengine's Config, whose `filename` and `dump()` the Runner records.

    Raises:
        ConfigError: the file is missing or broken, or an override names an unknown key; the
            message says which and suggests the nearest.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"config {path} does not exist")
    try:
        config = Config.fromfile(str(path), lazy_import=False)
    except Exception as error:  # a config is Python: whatever it raises is the user's to see
        raise ConfigError(
            f"config {path} cannot be read: {type(error).__name__}: {error}"
        ) from error
    _load_user_plugins(config, path)
    for override in overrides:
        _apply(config, override)
    _load_user_plugins(config, path)  # once more, for `plugins=[...]` among the overrides
    return config


def _apply(config: Config, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override `{override}` should look like key.sub=value")
    try:
        parsed = OmegaConf.from_dotlist([f"value={text}"])
        values: Any = OmegaConf.to_container(parsed, resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"override `{override}` cannot be read: {error}") from error
    *parents, last = key.split(".")
    node: Any = config._cfg_dict
    for depth, name in enumerate(parents):
        node = _child(node, name, key, depth)
    _child(node, last, key, len(parents))
    if isinstance(node, list):
        node[int(last)] = values["value"]
    else:
        node[last] = values["value"]


def _child(node: Any, name: str, key: str, depth: int) -> Any:
    """Steps into `node`, or says which part of the dotted key is not there."""
    if isinstance(node, list):
        if name.isdigit() and int(name) < len(node):
            return node[int(name)]
        raise ConfigError(f"override `{key}`: `{name}` is not an index below {len(node)}")
    if not isinstance(node, dict):
        raise ConfigError(f"override `{key}`: `{'.'.join(key.split('.')[:depth])}` has no keys")
    if name not in node:
        known = {str(k) for k in node} | _component_options(node)
        if name in known:
            return None
        raise ConfigError(
            f"override `{key}`: unknown key `{name}`.{did_you_mean(name, known)} "
            f"Known: {', '.join(sorted(known))}."
        )
    return node[name]


def _component_options(node: dict) -> set[str]:
    """Returns the options that a component's class takes, also those left at their defaults."""
    from presence.registry import ALL

    name = node.get("type")
    if not isinstance(name, str):
        return set()
    classes = [r.module_dict[name] for r in ALL.values() if name in r.names()]
    return {option for cls in classes for option in inspect.signature(cls).parameters}


def _load_user_plugins(config: Config, path: Path) -> None:
    from presence.plugins import load_plugin_file

    for plugin in config.get("plugins", ()):
        file = Path(plugin)
        load_plugin_file(file if file.is_absolute() else path.parent / file)
