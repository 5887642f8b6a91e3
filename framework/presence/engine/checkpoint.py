"""Checkpoints that `torch.load(weights_only=True)` reads, and released weights as safetensors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from presence.errors import AssetError, ConfigError, InputError

FORMAT = 1
_NAME = re.compile(r"iter_(\d+)\.pth")


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Writes a training state of tensors and plain values, complete or not at all.

    Args:
        path: file to write.
        state: nested dicts, lists and tuples of tensors, numbers, strings and None.

    Raises:
        TypeError: something in it would need pickle to run code when loaded.
        OSError: the disk is full or the folder cannot be written.
    """
    from presence.io.atomic import atomic_file

    plain = dict(format=FORMAT, **{key: _plain(value, key) for key, value in state.items()})
    with atomic_file(path) as temporary:
        try:
            torch.save(plain, temporary)
        except RuntimeError as error:  # torch's zip writer hides the reason of a failed write
            free = shutil.disk_usage(temporary.parent).free
            raise OSError(
                28, f"cannot write the checkpoint ({free / 1e9:.1f} GB free)", str(path)
            ) from error


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Reads a training state, without ever unpickling code.

    Raises:
        InputError: the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # damaged zip, foreign pickle: many types, one meaning
        raise InputError(f"{path} is not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or "state_dict" not in state or "meta" not in state:
        raise InputError(f"{path} is no checkpoint of this project (no `state_dict` and `meta`)")
    if state.get("format") != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {state.get('format')}, this version reads {FORMAT}"
        )
    return state


def checkpoint_path(folder: str | Path, iteration: int) -> Path:
    """Returns where the state after `iteration` iterations is kept."""
    return Path(folder) / f"iter_{iteration}.pth"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Returns the checkpoints of a work folder, oldest first."""
    found = [
        (int(m[1]), p) for p in Path(folder).glob("iter_*.pth") if (m := _NAME.fullmatch(p.name))
    ]
    return [path for _, path in sorted(found)]


def export_weights(
    checkpoint: str | Path,
    out: str | Path,
    dtype: torch.dtype = torch.float16,
    use_ema: bool = True,
) -> Path:
    """Writes a checkpoint's weights as one safetensors file that says where it comes from.

    The header holds config, seed, commit, step and metrics as JSON strings.

    Args:
        checkpoint: a training checkpoint.
        out: file to write.
        dtype: of floating tensors; indices keep their type.
        use_ema: take the averaged weights where there are any.

    Returns:
        `out` as a path.
    """
    from safetensors.torch import save

    from presence.io.atomic import write_bytes

    state = read_checkpoint(checkpoint)
    weights = dict(state["state_dict"])
    if use_ema:
        weights.update(state.get("ema") or {})
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in weights.items()
    }
    overflow = [n for n, v in tensors.items() if v.is_floating_point() and not v.isfinite().all()]
    if overflow:
        raise InputError(f"weight `{overflow[0]}` is not finite as {dtype}: choose another dtype")
    meta = dict(state["meta"], averaged=bool(use_ema and state.get("ema")), format=FORMAT)
    header = {key: v if isinstance(v, str) else json.dumps(v) for key, v in meta.items()}
    write_bytes(out, save(tensors, metadata=header))
    return Path(out)


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads released weights or a training checkpoint (its averaged weights, where there are any).

    Returns:
        (name to tensor, metadata with at least `config`).

    Raises:
        AssetError: a missing file.
        InputError: a damaged file.
    """
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"weights {path} do not exist")
    if path.suffix != ".safetensors":
        state = read_checkpoint(path)
        return {**state["state_dict"], **(state.get("ema") or {})}, dict(state["meta"])
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = dict(file.metadata() or {})
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file ({error})") from error
    return tensors, {key: _from_json(value) for key, value in header.items()}


def load_model(
    weights: str | Path, config: Any = None, device: torch.device | str = "cpu"
) -> nn.Module:
    """Builds a config's model and fills it with weights, in eval mode.

    Args:
        weights: a `.safetensors` file or a training checkpoint.
        config: config whose `model` section is built; None for the one inside the file.
        device: where the model should be.

    Raises:
        ConfigError: the weights do not fit the config; the message names the first differences.
        AssetError: no such file.
        InputError: a damaged file.
    """
    tensors, meta = read_weights(weights)
    if config is None:
        config = config_from_plain(meta.get("config"), weights)
    model = build_model(config["model"])
    load_weights(model, tensors, source=str(weights))
    return model.to(device).eval()


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str = "weights") -> None:
    """Copies weights into a model, all of them or none.

    Raises:
        ConfigError: keys or shapes differ; the message names the first ones.
    """
    own = model.state_dict()
    problems = [f"`{k}` is not in the file" for k in own if k not in tensors]
    problems += [f"`{k}` is not in the model" for k in tensors if k not in own]
    problems += [
        f"`{k}` is {list(tensors[k].shape)} in the file, {list(own[k].shape)} in the model"
        for k in own
        if k in tensors and own[k].shape != tensors[k].shape
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConfigError(
            f"{source} is a checkpoint of another config: {'; '.join(problems[:3])}{more}"
        )
    model.load_state_dict({key: tensors[key].to(own[key].dtype) for key in own})


def warm_start(model: nn.Module, weights: str | Path) -> list[str]:
    """Starts a model from the weights of a related one, wherever name and shape agree.

    Args:
        model: filled in place.
        weights: a `.safetensors` file or a training checkpoint.

    Returns:
        Names of the model's weights that keep their random start.

    Raises:
        ConfigError: no weight fits.
        AssetError: no such file.
        InputError: a damaged file.
    """
    tensors, _ = read_weights(weights)
    own = model.state_dict()
    fitting = {k: v.to(own[k].dtype) for k, v in tensors.items() if k in own}
    fitting = {k: v for k, v in fitting.items() if v.shape == own[k].shape}
    if not fitting:
        raise ConfigError(f"no weight of {weights} fits the config's model")
    model.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting]


def build_model(cfg: Mapping[str, Any]) -> nn.Module:
    """Builds the model of a config's `model` section (type `AvatarModel` unless it says so)."""
    from presence.registry import MODELS

    options = dict(cfg)
    cls = MODELS.lookup(options.get("type", "AvatarModel"))
    if hasattr(cls, "from_config"):
        options.pop("type", None)
        return cls.from_config(options)
    return MODELS.build(options)


def config_to_plain(config: Any) -> dict[str, Any]:
    """Returns a config as nested dicts and lists of plain values, as weights carry it.

    Not as Python text: reading a file of weights must never run code.
    """
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {key: _plain(value, key) for key, value in values.items()}


def config_from_plain(values: Any, source: str | Path) -> Any:
    """Rebuilds the config that a file of weights carries.

    Raises:
        ConfigError: the file carries none.
    """
    from mmengine.config import Config

    if not isinstance(values, Mapping) or "model" not in values:
        raise ConfigError(f"{source} does not carry its config: name the config too")
    return Config(dict(values))


def _plain(value: Any, where: str) -> Any:
    """Copies nested containers to plain ones, tensors to the CPU; anything else is an error."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {k: _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, Iterable):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise TypeError(f"checkpoint entry {where} is a {type(value).__name__}, not a plain value")


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
