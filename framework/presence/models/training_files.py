"""Other projects' training checkpoints: their tensors, without the classes that lie beside them.

Such files hold configs, callbacks and optimisers of the projects' own classes. torch's restricted
reader (`weights_only=True`) lists the classes that a file names; here each is replaced by one
that only collects what it is given, so the rest can be read and no code of the file is run.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from presence.errors import AssetError


class StandIn:
    """In the place of a class that is not loaded: making one gives an empty mapping."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Returns what torch's reader lets a pickle fill: keys or attributes."""
        return OrderedDict()


def read_nested(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """Returns entry to name to tensor from a `.pth`, `.pt` or `.ckpt` file of several parts.

    Entries that are not tensors by name (a config, an iteration) are left out.

    Raises:
        AssetError: missing, damaged, or not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"weights {path} do not exist")
    content = _load(path)
    entries = content.items() if isinstance(content, dict) else ()
    tensors = {
        entry: {k: v for k, v in value.items() if isinstance(v, Tensor)}
        for entry, value in entries
        if isinstance(value, dict)
    }
    return {entry: found for entry, found in tensors.items() if found}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a training checkpoint's `state_dict`, or of any plain weight file.

    Raises:
        AssetError: missing, damaged, or without tensors by name.
    """
    from presence.models.weight_files import read_tensors

    if Path(path).suffix == ".safetensors":
        return read_tensors(path)
    found = read_nested(path).get("state_dict")
    return read_tensors(path) if found is None else found


def _load(path: Path) -> Any:
    zipped = zipfile.is_zipfile(path)
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        # One class a name: torch tells them apart by it.
        inert: list[Any] = [(type("StandIn", (StandIn,), {}), name) for name in named]
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        from presence.models.weight_files import unpickling_reason

        reason = unpickling_reason(error)
        raise AssetError(f"{path} is damaged, or needs code to load ({reason})") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise AssetError(f"{path} is not a readable weight file ({error})") from error
