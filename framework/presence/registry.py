"""The registries from which configs build components, with errors that name the nearest match."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import mmengine.registry as mmengine_registry

from presence.errors import ConfigError, did_you_mean

SCOPE = "presence"


class Registry(mmengine_registry.Registry):
    """A named collection of classes of one kind, built from `dict(type=..., **options)`.

    It is an mmengine registry, so the Runner resolves our components as its own; what it adds
    is checked options, collaborators and errors that a person can act on.

    Args:
        kind: what the registry holds, in the singular, as errors should name it.
        parent: mmengine's registry of the same kind, where the Runner looks things up.

    Example:
        >>> TOYS = Registry("toy")
        >>> @TOYS.register()
        ... class Ball:
        ...     def __init__(self, radius: float = 1.0) -> None:
        ...         self.radius = radius
        >>> TOYS.build(dict(type="Ball", radius=2.0)).radius
        2.0
    """

    def __init__(self, kind: str, parent: mmengine_registry.Registry | None = None) -> None:
        self.kind = kind
        super().__init__(kind, build_func=_build, parent=parent, scope=SCOPE)

    def register(self, name: str | None = None) -> Callable[[Any], Any]:
        """Returns a decorator for a class or factory, under `name` (default: its own name)."""
        return self.register_module(name=name)

    def names(self) -> list[str]:
        """Returns the registered names in order, after every plugin has been loaded."""
        _load_plugins()
        return sorted(self.module_dict)

    def lookup(self, name: str) -> Any:
        """Returns the class or factory registered under `name`.

        Raises:
            ConfigError: nothing has that name; the message names the nearest one, everything
                available, and the plugins that failed to load.
        """
        _load_plugins()
        found = self.get(name) if name in self.module_dict or self.parent is not None else None
        if found is None:
            raise ConfigError(_unknown(self.kind, name, sorted(self.module_dict)))
        return found

    def build(self, cfg: Mapping[str, Any], *args: Any, **collaborators: Any) -> Any:
        """Builds `cfg["type"]` with the other entries as options.

        Args:
            cfg: `dict(type=name or class, **options)`.
            *args: positional arguments handed on (mmengine's Runner uses this).
            **collaborators: built objects; a constructor receives those that it names, and no
                more, so that a component says by its signature what it needs.

        Raises:
            ConfigError: unknown type, unknown option or missing option.
        """
        return _build(cfg, *args, registry=self, **collaborators)


def _build(cfg: Mapping[str, Any], *args: Any, registry: Registry, **collaborators: Any) -> Any:
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"a {registry.kind} is configured as dict(type=..., ...), got {cfg!r}")
    options = {key: value for key, value in cfg.items() if key not in ("type", "_scope_")}
    cls = cfg["type"]
    if isinstance(cls, str):
        cls = registry.lookup(cls)
    parameters = inspect.signature(cls).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if not open_ended:
        for key in options:
            if key not in parameters:
                known = [name for name in parameters if name not in collaborators]
                raise ConfigError(
                    f"{registry.kind} `{cls.__name__}` has no option `{key}`."
                    f"{did_you_mean(key, known)} Options: {', '.join(known) or 'none'}."
                )
    given = {key: value for key, value in collaborators.items() if key in parameters}
    merged = {**given, **options}
    missing = [
        name
        for position, (name, parameter) in enumerate(parameters.items())
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in merged
        and position >= len(args)
    ]
    if missing:
        raise ConfigError(f"{registry.kind} `{cls.__name__}` needs option `{missing[0]}`.")
    return cls(*args, **merged)


def _unknown(kind: str, name: str, available: list[str]) -> str:
    from presence.plugins import failures

    skipped = "".join(f" Skipped plugin {f.name} ({f.reason})." for f in failures())
    return (
        f"unknown {kind} `{name}`.{did_you_mean(name, available)} "
        f"Available: {', '.join(available) or 'none'}.{skipped}"
    )


def _load_plugins() -> None:
    from presence.plugins import load_plugins

    load_plugins()


ENCODERS = Registry("encoder")
PROJECTORS = Registry("projector")
DECODERS = Registry("decoder")
RENDERERS = Registry("renderer")
RASTERIZERS = Registry("rasterizer")
TRACKERS = Registry("tracker")
ESTIMATORS = Registry("estimator")
BODIES = Registry("body")
LOSSES = Registry("loss")
MODELS = Registry("model", parent=mmengine_registry.MODELS)
DATASETS = Registry("dataset", parent=mmengine_registry.DATASETS)
METRICS = Registry("metric", parent=mmengine_registry.METRICS)
BENCHMARKS = Registry("benchmark")
HOOKS = Registry("hook", parent=mmengine_registry.HOOKS)

ALL: dict[str, Registry] = {
    registry.kind: registry
    for registry in (
        ENCODERS,
        PROJECTORS,
        DECODERS,
        RENDERERS,
        RASTERIZERS,
        TRACKERS,
        ESTIMATORS,
        BODIES,
        LOSSES,
        MODELS,
        DATASETS,
        METRICS,
        BENCHMARKS,
        HOOKS,
    )
}
