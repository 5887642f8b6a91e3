"""What linear corrections of landmarks share: their files, descriptions and limits."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from presence.errors import AssetError

_CLIP = 4.0  # standard deviations from the mean within which a description is believed


@dataclasses.dataclass(frozen=True)
class LinearCorrection:
    """A correction of tensors alone, which a body brings along as a file.

    Attributes:
        kind: what it is called in errors.
        suffix: of the bundled files' names, behind the body's.
    """

    kind: ClassVar[str]
    suffix: ClassVar[str]

    def save(self, path: str | Path) -> None:
        """Writes a compressed `.npz`: numbers in half precision, indices as 16-bit integers."""
        arrays = {f.name: getattr(self, f.name).numpy() for f in dataclasses.fields(self)}
        half = {
            name: array.astype(np.int16 if array.dtype.kind == "i" else np.float16)
            for name, array in arrays.items()
        }
        np.savez_compressed(path, **half)

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Reads the correction of a bundled body (by its name) or a file.

        Raises:
            AssetError: there is no such file, or it is no correction of this kind.
        """
        path = cls._path(source)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: torch.from_numpy(file[name]) for name in file.files}
            return cls(
                **{n: a.float() if a.is_floating_point() else a.long() for n, a in arrays.items()}
            )
        except (OSError, TypeError, ValueError) as error:
            raise AssetError(f"{path.name} is no {cls.kind} correction ({error})") from error

    @classmethod
    def bundled(cls, body_name: str) -> Self | None:
        """Returns the correction that comes with a body, or None where there is none."""
        return cls.load(body_name) if cls._path(body_name).is_file() else None

    @classmethod
    def _path(cls, source: str | Path) -> Path:
        path = Path(source)
        if path.suffix == ".npz":
            return path
        return Path(str(importlib.resources.files("presence.data") / f"{source}_{cls.suffix}.npz"))


def standardized(described: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Returns descriptions [... F] in standard deviations, with a one behind: [... F+1]."""
    known = torch.where(described.isnan(), mean, described)
    rows = ((known - mean) / scale).clamp(-_CLIP, _CLIP)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], -1)


def limited(moves: Tensor, farthest: float) -> Tensor:
    """Shortens moves [... D] to at most a length."""
    length = moves.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return moves * (length.clamp(max=farthest) / length)
