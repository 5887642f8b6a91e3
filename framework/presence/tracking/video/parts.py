"""What was tracked of a video so far, chunk by chunk on disk; joined into one file at the end."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from presence.io.atomic import atomic_file, write_bytes, write_text
from presence.io.motion import PARTS
from presence.structures import BodyParams
from presence.tracking.video.reasons import Reason

_REASONS = "reasons"


@dataclasses.dataclass(frozen=True)
class Part:
    """Some consecutive frames' results.

    Attributes:
        params: [n] in the fit's axes, without offsets, which the whole video shares.
        visibility: [n P] of the parts in `visible_parts`' order.
        tracked: [n] whether a person was found in the frame.
        joined: [n] whether some of Sapiens' keypoints were taken in the frame.
        reasons: which estimators its keyframes came from, and why.
    """

    params: BodyParams
    visibility: Tensor
    tracked: Tensor
    joined: Tensor
    reasons: tuple[Reason, ...] = ()


class PartStore:
    """A folder beside the result that keeps finished chunks, so that a run can go on.

    Args:
        out: the tracking file that will be written; the folder is `OUT.parts`.
        plan: what the run depends on; parts of another plan are thrown away.
    """

    def __init__(self, out: str | Path, plan: dict[str, Any]) -> None:
        self.folder = Path(f"{out}.parts")
        wanted, path = json.dumps(plan, sort_keys=True, indent=1), self.folder / "plan.json"
        if self.folder.is_dir() and not (path.is_file() and path.read_text() == wanted):
            shutil.rmtree(self.folder)
        write_text(path, wanted)

    def shape(self, name: str = "shape") -> Tensor | None:
        """Returns a shape that was found, or None: the body's [S], or what else `name` says."""
        path = self.folder / f"{name}.npy"
        return torch.from_numpy(np.load(path, allow_pickle=False)) if path.is_file() else None

    def set_shape(self, shape: Tensor, name: str = "shape") -> None:
        """Keeps a shape."""
        memory = io.BytesIO()
        np.save(memory, shape.cpu().numpy(), allow_pickle=False)
        write_bytes(self.folder / f"{name}.npy", memory.getvalue())

    def __contains__(self, number: int) -> bool:
        return self._path(number).is_file()

    def __getitem__(self, number: int) -> Part:
        with np.load(self._path(number), allow_pickle=False) as file:
            names = [name for name in file.files if name != _REASONS]
            arrays = {name: torch.from_numpy(file[name]) for name in names}
            told = file[_REASONS].tolist() if _REASONS in file else []
        names = [field.name for field in dataclasses.fields(BodyParams)]
        params = BodyParams(**{name: arrays[name] for name in names if name in arrays})
        reasons = tuple((part, source, why) for part, source, why in told)
        return Part(params, arrays["visibility"], arrays["tracked"], arrays["joined"], reasons)

    def add(self, number: int, part: Part) -> None:
        """Keeps the frames that count of a chunk."""
        memory = io.BytesIO()
        arrays = {name: value.numpy() for name, value in part.params.tensors().items()}
        np.savez(
            memory,
            visibility=part.visibility.numpy(),
            tracked=part.tracked.numpy(),
            joined=part.joined.numpy(),
            **arrays,
            **({_REASONS: np.array(part.reasons, dtype=np.str_)} if part.reasons else {}),
        )
        write_bytes(self._path(number), memory.getvalue())

    def parts(self) -> Iterator[Part]:
        """Yields all parts in order, one at a time."""
        number = 0
        while number in self:
            yield self[number]
            number += 1

    def remove(self) -> None:
        """Deletes the folder, after the result was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"


def join_parts(
    path: str | Path,
    parts: Callable[[], Iterator[Part]],
    frames: int,
    constants: dict[str, np.ndarray],
) -> None:
    """Writes one `.npz` from parts, holding no more than one of them at a time.

    Args:
        path: file to write.
        parts: gives the parts, as often as it is called.
        frames: T, of all parts together.
        constants: arrays that are written as they are.
    """
    with (
        atomic_file(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in constants.items():
            memory = io.BytesIO()
            np.save(memory, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", memory.getvalue())
        for name, rows in _COLUMNS.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                for number, part in enumerate(parts()):
                    block = np.ascontiguousarray(rows(part).numpy())
                    if number == 0:
                        header = np.lib.format.header_data_from_array_1_0(block)
                        header["shape"] = (frames, *block.shape[1:])
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(block.tobytes())


def _pose(name: str) -> Callable[[Part], Tensor]:
    return lambda part: part.params.pose[:, PARTS[name]].flatten(1)


_COLUMNS: dict[str, Callable[[Part], Tensor]] = {
    **{name: _pose(name) for name in PARTS},
    "transl": lambda part: part.params.translation,
    "expression": lambda part: part.params.expression,
    "visibility": lambda part: part.visibility,
    "tracked": lambda part: part.tracked,
}
