"""Motions as `.npz` files with SMPL-X parameter names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from presence.errors import InputError
from presence.io.atomic import write_bytes
from presence.motion.clip import NUM_JOINTS, Motion
from presence.structures import BodyParams

PARTS: dict[str, slice] = {
    "global_orient": slice(0, 1),
    "body_pose": slice(1, 22),
    "jaw_pose": slice(22, 23),
    "leye_pose": slice(23, 24),
    "reye_pose": slice(24, 25),
    "left_hand_pose": slice(25, 40),
    "right_hand_pose": slice(40, 55),
}
"""SMPL-X's name of each part of the pose, and its joints."""


def save_motion(path: str | Path, motion: Motion) -> None:
    """Writes a motion atomically.

    Arrays, T frames: `global_orient` [T 3], `body_pose` [T 63], `jaw_pose`, `leye_pose`,
    `reye_pose` [T 3], `left_hand_pose`, `right_hand_pose` [T 45] (axis-angle, rad, flat hand = 0),
    `transl` [T 3] (m), `expression` [T E], `betas` [S], `fps`; and our own `expression_names`,
    `joints`, `relative_joints`, `relative_expression`, `ease`, which other programs may ignore.
    Offsets of the person who moved are left behind: whoever is driven keeps their own.

    Example:
        >>> import tempfile
        >>> from presence.motion import builtin_motion
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_motion(f"{folder}/wave.npz", builtin_motion("wave", 24))
        ...     load_motion(f"{folder}/wave.npz").fps
        24.0
    """
    pose = motion.body.pose.detach().cpu()
    arrays: dict[str, Any] = {
        name: pose[:, part].flatten(1).numpy() for name, part in PARTS.items()
    }
    arrays["transl"] = motion.body.translation.detach().cpu().numpy()
    arrays["expression"] = motion.body.expression.detach().cpu().numpy()
    arrays["betas"] = motion.body.betas.detach().cpu().numpy()[:1].reshape(-1)
    arrays["fps"] = np.float64(motion.fps)
    arrays["expression_names"] = np.array(motion.expression_names, dtype=np.str_)
    arrays["joints"] = np.array(motion.joints, dtype=np.int64)
    arrays["relative_joints"] = np.array(motion.relative_joints, dtype=np.int64)
    arrays["relative_expression"] = np.bool_(motion.relative_expression)
    arrays["ease"] = np.float64(motion.ease)
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)
    write_bytes(path, memory.getvalue())


def load_motion(path: str | Path) -> Motion:
    """Reads a motion; of the arrays, only `body_pose` has to be there.

    Missing parts of the pose are not driven (they stay as they were tracked), a missing `fps` is
    30, and parts may be [T n 3] as well as [T 3n]. The shape, `betas` and a tracking's `offsets`,
    is not read. Files are read without pickle.

    Raises:
        InputError: not a motion file, or arrays that do not fit; one line, naming the file.
    """
    path = Path(path)
    arrays = _read(path)
    if "body_pose" not in arrays:
        found = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise InputError(
            f"{path} is not a motion: expected SMPL-X arrays such as `body_pose`, found {found}"
        )
    frames = int(arrays["body_pose"].shape[0]) if arrays["body_pose"].ndim > 1 else 1
    if frames == 0:
        raise InputError(f"{path} has no frames")
    pose = torch.zeros(frames, NUM_JOINTS, 3)
    present: list[int] = []
    for name, part in PARTS.items():
        if name in arrays:
            count = part.stop - part.start
            pose[:, part] = _frames(path, arrays, name, frames, 3 * count).reshape(frames, count, 3)
            present += range(part.start, part.stop)
    names = tuple(str(n) for n in arrays.get("expression_names", ()))
    expression = _expression(path, arrays, frames, len(names))
    body = BodyParams(
        betas=torch.zeros(frames, 0),
        expression=expression,
        pose=pose,
        translation=_frames(path, arrays, "transl", frames, 3),
    )
    return Motion(
        body=body,
        fps=_number(path, arrays, "fps", 30.0, low=0.1),
        expression_names=names,
        joints=_joints(arrays, "joints", present),
        relative_joints=_joints(arrays, "relative_joints", ()),
        relative_expression=bool(_number(path, arrays, "relative_expression", 0.0)),
        ease=_number(path, arrays, "ease", 0.0),
        name=path.stem,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"motion {path} does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, TypeError) as error:
        raise InputError(f"{path} is not a motion file (.npz with SMPL-X arrays)") from error


def _frames(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, frames: int, width: int
) -> Tensor:
    """Array `name` as [frames width], zeros if it is missing."""
    if name not in arrays:
        return torch.zeros(frames, width)
    value = arrays[name]
    numeric = np.issubdtype(value.dtype, np.floating) or np.issubdtype(value.dtype, np.integer)
    if not numeric or value.size != frames * width:
        raise InputError(
            f"{path}: `{name}` should be [{frames} {width}] numbers, "
            f"but is {list(value.shape)} of {value.dtype}"
        )
    flat = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)).reshape(frames, width)
    if not bool(flat.isfinite().all()):
        raise InputError(f"{path}: `{name}` holds values that are not finite")
    return flat


def _expression(path: Path, arrays: Mapping[str, np.ndarray], frames: int, named: int) -> Tensor:
    if "expression" not in arrays:
        return torch.zeros(frames, named)
    width = named or arrays["expression"].size // frames
    return _frames(path, arrays, "expression", frames, width)


def _number(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, default: float, low: float = 0.0
) -> float:
    if name not in arrays:
        return default
    try:
        value = float(arrays[name].reshape(()))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: `{name}` should be one number") from error
    if not low <= value < 1e6:
        raise InputError(f"{path}: `{name}` is {value}, expected at least {low}")
    return value


def _joints(
    arrays: Mapping[str, np.ndarray], name: str, default: tuple[int, ...] | list[int]
) -> tuple[int, ...]:
    if name not in arrays:
        return tuple(default)
    return tuple(int(j) for j in arrays[name].reshape(-1) if 0 <= int(j) < NUM_JOINTS)
