"""Reads the tensors of a TorchScript archive without loading, compiling or running its code."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from presence.errors import AssetError

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(names: list[str]) -> bool:
    """Returns whether the entries of a zip are those of a TorchScript archive."""
    inner = {name.partition("/")[2] for name in names}
    return {"data.pkl", "constants.pkl"} <= inner


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Returns attribute path (`backbone.layers.0.ln1.weight`) to tensor, mapped from the file.

    The archive is a zip: `data.pkl` describes the module tree and names storages, `data/<n>`
    holds their bytes, uncompressed. The pickle is read by an unpickler that knows tensors and
    containers, and turns every scripted class into a plain holder of attributes.

    Raises:
        AssetError: the archive holds anything else, is damaged, or has no tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tree = _Unpickler(Path(path), archive).load()
    except (pickle.UnpicklingError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise AssetError(f"{path} is no readable TorchScript archive ({error})") from error
    tensors: dict[str, Tensor] = {}
    _collect(tree, "", tensors)
    if not tensors:
        raise AssetError(f"{path} holds no named tensors: it was frozen, which merges the weights")
    return tensors


class _Holder:
    """Stands for an instance of any scripted class."""

    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        pickles = [n for n in archive.namelist() if n.partition("/")[2] == "data.pkl"]
        super().__init__(io.BytesIO(archive.read(pickles[0])))
        self.folder = pickles[0].partition("/")[0]
        self.path, self.archive = path, archive
        self.bytes = np.memmap(path, np.uint8, mode="c")  # copy on write: the file stays as it is

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Holder
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if module == "torch.jit._pickle":  # typed lists and dicts: the value is the first argument
            return lambda value, *_: value
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _device, _count = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown reference {kind}")
        entry = self.archive.getinfo(f"{self.folder}/data/{key}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"entry {entry.filename} is compressed")
        # The local header's name and padding lengths may differ from the directory's.
        header = self.bytes[entry.header_offset : entry.header_offset + 30].tobytes()
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = entry.header_offset + 30 + name_length + extra_length
        stored = self.bytes[start : start + entry.file_size]
        if len(stored) < entry.file_size:
            raise pickle.UnpicklingError(f"entry {entry.filename} is cut off")
        if not entry.file_size:
            return torch.empty(0, dtype=dtype)
        return torch.from_numpy(stored).view(dtype)


def _rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _collect(node: Any, name: str, into: dict[str, Tensor]) -> None:
    if isinstance(node, Tensor):
        into[name] = node
    elif isinstance(node, _Holder):
        for key, value in node.attributes.items():
            _collect(value, f"{name}.{key}" if name else key, into)
