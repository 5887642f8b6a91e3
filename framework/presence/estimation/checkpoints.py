"""Released checkpoints that hold objects beside their tensors, read without making any of them."""

from __future__ import annotations

import pickle
import types
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from presence.errors import AssetError
from presence.models.weight_files import read_tensors

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
}


class Inert(dict):
    """Stands for an object of any other class (a config node, a namespace); it does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Takes no state."""

    def append(self, item: Any) -> None:
        """Takes no items."""

    def extend(self, items: Any) -> None:
        """Takes no items."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and name.endswith("Storage")):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return Inert


def read_released(path: str | Path, *, entry: str = "state_dict") -> dict[str, Tensor]:
    """Returns name to tensor like `read_tensors`, also where the file holds other objects.

    Torch's restricted loader refuses files with a Lightning config or a namespace in them. Those
    are read again by an unpickler that knows tensors and containers, and puts an inert stand-in
    where the file names anything else; no code of the file or its packages runs.

    Args:
        path: the file.
        entry: the entry around the tensors.

    Raises:
        AssetError: missing, damaged, or without tensors.
    """
    try:
        return read_tensors(path, entry=entry)
    except AssetError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
    stand_in = types.ModuleType("inert_pickle")
    stand_in.__dict__.update(Unpickler=_Unpickler, load=lambda f, **_: _Unpickler(f).load())
    try:
        content = torch.load(
            path,
            map_location="cpu",
            weights_only=False,
            pickle_module=stand_in,
            mmap=zipfile.is_zipfile(path),
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError) as error:
        raise AssetError(f"{path} is not a readable weight file ({error})") from error
    inner = content.get(entry, content) if isinstance(content, dict) else {}
    tensors = {k: v for k, v in inner.items() if isinstance(v, Tensor)}
    if not tensors:
        raise AssetError(f"{path} holds no tensors by name")
    return tensors
