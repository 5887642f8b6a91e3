"""A restricted unpickler for body files: arrays and containers only, no code, no chumpy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from presence.errors import AssetError

_NUMPY = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}
_BUILTINS = {"object", "set", "frozenset", "complex", "bytearray", "slice", "range"}


class Inert:
    """Stands for an object of an unknown class: it keeps its state and does nothing.

    Attributes:
        origin: module and class named by the pickle.
        state: what the pickle would have restored.
    """

    origin = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {"state": state}


class _BodyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY:
            owner = np if module == "numpy" else _multiarray()
            return getattr(owner, name)
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return getattr(__import__("builtins"), name)
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return _reconstruct
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("_codecs", "encode"):
            return _encode
        return type(name, (Inert,), {"origin": f"{module}.{name}"})


def _reconstruct(kind: type, base: type, state: Any) -> Any:
    """Protocols 0 and 1 make plain objects by `copyreg._reconstructor(class, object, None)`."""
    if not issubclass(kind, Inert):
        raise AssetError(f"a body pickle makes a {kind.__name__}")
    return kind()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Protocol 2 pickles spell bytes as `_codecs.encode(text, "latin1")`."""
    if encoding != "latin1":
        raise AssetError(f"a body pickle asks for the codec {encoding!r}")
    return text.encode("latin1")


def _multiarray() -> Any:
    import importlib

    newer = int(np.__version__.split(".")[0]) >= 2
    return importlib.import_module("numpy._core.multiarray" if newer else "numpy.core.multiarray")


def load_pickle(path: Path) -> dict[str, Any]:
    """Reads a body pickle without running anything that it names.

    Chumpy arrays become numpy arrays, scipy sparse matrices dense ones; objects of any other
    class become `Inert`.

    Args:
        path: a `.pkl` written by Python 2 or 3.

    Raises:
        AssetError: the file does not hold a dictionary.
    """
    with path.open("rb") as file:
        content = _BodyUnpickler(file, encoding="latin1").load()
    if not isinstance(content, dict):
        raise AssetError(f"{path} holds a {type(content).__name__}, expected a dictionary")
    return {str(key): _plain(value) for key, value in content.items()}


def _plain(value: Any) -> Any:
    if not isinstance(value, Inert):
        return value
    state = value.state
    if value.origin.startswith("chumpy"):
        return np.asarray(_plain(state["x"])) if "x" in state else value
    if value.origin.startswith("scipy.sparse") and "indptr" in state:
        return _densify(state, by_column="csc" in value.origin)
    return value


def _densify(state: dict[str, Any], *, by_column: bool) -> np.ndarray:
    rows, columns = state.get("_shape") or state["shape"]
    dense = np.zeros((columns, rows) if by_column else (rows, columns))
    outer = np.repeat(np.arange(len(state["indptr"]) - 1), np.diff(state["indptr"]))
    np.add.at(dense, (outer, state["indices"]), state["data"])
    return dense.T if by_column else dense
