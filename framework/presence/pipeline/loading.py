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
    return load_model(weights, settings, place), settings


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
    # Trackers fit on the CPU, wherever the model runs.
    body = model.body if place.type == "cpu" else copy.deepcopy(model.body).to("cpu")
    tracker = TRACKERS.build(tracker_config(settings.get("tracker")), body=body)
    used = {"weights": Path(weights).name, "config": Path(config).name if config else "in weights"}
    options = _options(settings)
    return Reconstructor(model, tracker, device=place, used=used, progress=progress, **options)


def _options(settings: Mapping[str, Any]) -> dict[str, int]:
    """The config's `pipeline` section; the window is as large as the training pictures."""
    trained = (settings.get("data") or {}).get("train") or {}
    options = {"size": trained.get("size", 512), **(settings.get("pipeline") or {})}
    for key, value in options.items():
        if key not in ("size", "turntable"):
            known = ["size", "turntable"]
            raise ConfigError(
                f"config section `pipeline` has no option `{key}`."
                f"{did_you_mean(key, known)} Options: {', '.join(known)}."
            )
        if not isinstance(value, int) or not 1 <= value <= 4096:
            raise ConfigError(f"pipeline.{key} should be a whole number up to 4096, got {value!r}")
    return options
