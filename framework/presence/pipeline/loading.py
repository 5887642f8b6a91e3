"""From weights and a config to a model, or to a `Reconstructor` that is ready for pictures."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from presence.errors import AssetError, ConfigError, did_you_mean
from presence.pipeline.player import resolve_device
from presence.pipeline.reconstruction import Reconstructor
from presence.projection import DualUVProjector
from presence.registry import TRACKERS
from presence.tracking.default import tracker_config


def load_avatar_model(
    weights: str | Path,
    config: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    device: str | torch.device = "cpu",
) -> tuple[Any, Mapping[str, Any]]:
    """Loads an `AvatarModel` in eval mode, and the config that it was built from.

    It is meant for tracked bodies, which are some pixels off: a Dual-UV projector that does not
    say how many `rims` to distrust takes the config's `pipeline.rims`.

    Args:
        weights: a `.safetensors` file or a training checkpoint.
        config: a config file; None takes the one that the weights carry.
        overrides: `key=value` for the config.
        device: where the model goes.

    Raises:
        PresenceError: a file is missing or does not fit; the message is one line.
    """
    from presence.config import load_config
    from presence.engine.checkpoint import config_from_plain, load_model, read_weights

    place = resolve_device(device)
    if not Path(weights).is_file():
        raise AssetError(
            f"weights {weights} do not exist: train them with tools/train.py, "
            "or name others with --weights"
        )
    if config is not None:
        settings = load_config(config, overrides)
    elif overrides:
        raise ConfigError("changing single keys needs a config: give --config too")
    else:
        settings = config_from_plain(read_weights(weights)[1].get("config"), weights)
    model = load_model(weights, settings, place)
    if isinstance(model.projector, DualUVProjector):
        model.projector.rims = model.projector.rims or _options(settings)["rims"]
    return model, settings


def load_reconstructor(
    weights: str | Path,
    config: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    device: str = "cpu",
    progress: bool = True,
) -> Reconstructor:
    """Loads a model and its tracker.

    Args:
        weights: a `.safetensors` file or a training checkpoint.
        config: a config file; None takes the one that the weights carry.
        overrides: `key=value` for the config.
        device: "cpu" or "cuda".
        progress: show progress bars later.

    Raises:
        PresenceError: a file is missing or does not fit; the message is one line.
    """
    place = resolve_device(device)
    model, settings = load_avatar_model(weights, config, overrides, device=place)
    # Trackers fit on the CPU, wherever the model runs; their networks and stages go with it.
    body = model.body if place.type == "cpu" else copy.deepcopy(model.body).to("cpu")
    chosen = tracker_config(settings.get("tracker"))
    tracker = TRACKERS.build(chosen, body=body, device=str(place))
    used = {"weights": Path(weights).name, "config": Path(config).name if config else "in weights"}
    options = {k: v for k, v in _options(settings).items() if k != "rims"}
    return Reconstructor(model, tracker, device=place, used=used, progress=progress, **options)


_LEAST = {"size": 1, "turntable": 1, "rims": 0}  # options of the config's `pipeline` section


def _options(settings: Mapping[str, Any]) -> dict[str, int]:
    """The config's `pipeline` section; the window is as large as the training pictures."""
    trained = (settings.get("data") or {}).get("train") or {}
    given = settings.get("pipeline") or {}
    options = {"size": trained.get("size", 512), "rims": 4, **given}
    for key, value in options.items():
        if key not in _LEAST:
            raise ConfigError(
                f"config section `pipeline` has no option `{key}`."
                f"{did_you_mean(key, _LEAST)} Options: {', '.join(_LEAST)}."
            )
        if not isinstance(value, int) or not _LEAST[key] <= value <= 4096:
            raise ConfigError(f"pipeline.{key} should be a whole number up to 4096, got {value!r}")
    return options
