"""A listing of every registered component: where it comes from, what it is, what it takes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from presence.errors import ConfigError, did_you_mean
from presence.registry import ALL


def list_components(kind: str | None = None) -> str:
    """Returns a text with every component's name, module, first line of documentation and options.

    Args:
        kind: only this kind, such as "decoder".

    Raises:
        ConfigError: there is no such kind.
    """
    if kind is not None and kind not in ALL:
        raise ConfigError(
            f"unknown kind `{kind}`.{did_you_mean(kind, ALL)} Kinds: {', '.join(ALL)}."
        )
    importlib.import_module("presence.engine.hooks")  # only training needs them otherwise
    lines: list[str] = []
    for name in [kind] if kind else ALL:
        lines += _kind(name)
    return "\n".join([*lines, *_skipped()])


def _kind(kind: str) -> Iterator[str]:
    registry = ALL[kind]
    names = registry.names()
    yield f"{kind} ({len(names)})"
    for name in names:
        component = registry.module_dict[name]
        summary = (inspect.getdoc(component) or "").split("\n")[0]
        yield f"  {name}  [{component.__module__}]"
        if summary:
            yield f"      {summary}"
        options = ", ".join(_options(component))
        if options:
            yield f"      options: {options}"


def _options(component: Any) -> Iterator[str]:
    for name, parameter in inspect.signature(component).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            yield name
        else:
            yield f"{name}={parameter.default!r}"


def _skipped() -> Iterator[str]:
    from presence.plugins import failures

    for failure in failures():
        yield f"skipped plugin {failure.name}: {failure.reason}"
