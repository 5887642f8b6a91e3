"""Released weight files of any kind, read without running code, and filled in strictly."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from presence.assets import find_asset, load_assets
from presence.errors import AssetError
from presence.models.torchscript import is_torchscript, read_torchscript


def find_weights(weights: str, asset: str) -> Path:
    """Returns the file that an encoder's `weights` option means.

    Args:
        weights: `"official"`, the name of another entry of configs/assets.yaml, or a path.
        asset: the entry of the official file.

    Raises:
        AssetError: the file is not there.
    """
    path = Path(weights).expanduser()
    if weights != "official" and path.is_file():
        return path
    name = asset if weights == "official" else weights
    if name == asset or name in load_assets():
        return find_asset(name).require()
    raise AssetError(f"weights {path} do not exist")


def read_tensors(path: str | Path, *, entry: str = "state_dict") -> dict[str, Tensor]:
    """Returns name to tensor from a safetensors, `.pth` or TorchScript file, mapped where it can.

    An entry around the tensors is opened, and what lies beside it ignored. A file of several
    entries with tensors gives them all, as `entry.name`.

    Args:
        path: the file.
        entry: the entry to open where there is one.

    Raises:
        AssetError: missing, damaged, another kind of file, or one that needs code to load.
    """
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"weights {path} do not exist")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if is_torchscript(names):
            return read_torchscript(path)
        if not any(name.partition("/")[2] == "data.pkl" for name in names):
            raise AssetError(
                f"{path} is a compiled program (torch.export), tied to one version of torch: "
                "use the .pth, .safetensors or TorchScript file"
            )
    return _tensors_of(_load(path, mmap=zipped), path, entry)


def fill_strictly(
    module: nn.Module,
    tensors: dict[str, Tensor],
    *,
    source: str,
    official_name: Callable[[str], str] = str,
    ignored: Iterable[str] = (),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Puts a file's tensors into a module; every tensor must have its place, and every place one.

    Args:
        module: on the CPU or the meta device; its parameters are replaced.
        tensors: official name to tensor.
        source: the file, for errors.
        official_name: a name in `module.state_dict()` to the file's name.
        ignored: regular expressions of the file's names that are known and not needed.
        dtype: of the floating-point parameters.

    Raises:
        AssetError: names or shapes differ; the message names every one.
    """
    own = module.state_dict()
    wanted = {official_name(name): name for name in own}
    unused = [re.compile(pattern) for pattern in ignored]
    left_over = [k for k in tensors if k not in wanted and not any(p.fullmatch(k) for p in unused)]
    wrong = [
        f"{k} is {list(tensors[k].shape)}, not {list(own[n].shape)}"
        for k, n in wanted.items()
        if k in tensors and tensors[k].shape != own[n].shape
    ]
    problems = [
        f"{title}: {', '.join(fold_numbers(names))}"
        for title, names in (
            ("missing", [k for k in wanted if k not in tensors]),
            ("left over", left_over),
            ("of another shape", wrong),
        )
        if names
    ]
    if problems:
        raise AssetError(f"{source} does not fit {type(module).__name__}. {'; '.join(problems)}")

    def kept(value: Tensor) -> torch.dtype:
        return dtype if value.is_floating_point() else value.dtype

    state = {
        name: torch.empty(own[name].shape, dtype=kept(own[name])).copy_(tensors[official])
        for official, name in wanted.items()
    }
    module.load_state_dict(state, assign=True)


def strip_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors below `prefix`, or all of them where no name starts with it."""
    inside = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    return inside or tensors


def renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Applies (regular expression, replacement) to a weight's name, one after the other.

    Example:
        >>> renamed("blocks.3.norm.bias", [("^blocks", "layers"), ("norm", "ln")])
        'layers.3.ln.bias'
    """
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def fold_numbers(names: Iterable[str]) -> list[str]:
    """Writes names that differ in their first number as one.

    Example:
        >>> fold_numbers(["a.0.w", "a.1.w", "a.2.w", "a.7.w", "b"])
        ['a.{0-2,7}.w', 'b']
    """
    groups: dict[tuple[str, str] | str, list[int]] = {}
    for name in names:
        match = re.match(r"(.*?\.)(\d+)(\..*)", name)
        key = (match[1], match[3]) if match else name
        groups.setdefault(key, []).extend([int(match[2])] if match else [])
    return [
        key if isinstance(key, str) else f"{key[0]}{_ranges(sorted(numbers))}{key[1]}"
        for key, numbers in groups.items()
    ]


def unpickling_reason(error: pickle.UnpicklingError) -> str:
    """Returns why torch does not read a file, without its advice to run what is in it.

    Example:
        >>> unpickling_reason(pickle.UnpicklingError("Unsupported global: GLOBAL os.system was"))
        'it names os.system'
    """
    text = str(error)
    if named := re.search(r"Unsupported global: GLOBAL (\S+)", text):
        return f"it names {named[1]}"
    told = re.search(r"Unsupported [^\n]*", text)
    return told[0].lower() if told else "it is no pickle of tensors"


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    if len(numbers) == 1:
        return str(numbers[0])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{{{','.join(texts)}}}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise AssetError(f"{path} is not a readable safetensors file ({error})") from error


def _load(path: Path, *, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        reason = unpickling_reason(error)
        raise AssetError(f"{path} is damaged, or needs code to load ({reason})") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise AssetError(f"{path} is not a readable weight file ({error})") from error


def _tensors_of(content: Any, path: Path, entry: str) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get(entry), dict):
        content = content[entry]
    found = content if isinstance(content, dict) else {}
    tensors = {k: v for k, v in found.items() if isinstance(v, Tensor)}
    if not tensors:
        parts = {k: v for k, v in found.items() if isinstance(v, dict)}
        tensors = {
            f"{part}.{k}": v
            for part, inner in parts.items()
            for k, v in inner.items()
            if isinstance(v, Tensor)
        }
    if not tensors:
        raise AssetError(f"{path} holds no tensors by name")
    return tensors
