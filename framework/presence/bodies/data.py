"""Body files on disk: reading SMPL-X-layout `.npz` and `.pkl` into plain, checked arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from presence.bodies.joints import FINGERS, JOINT_NAMES, NUM_JOINTS, PARENTS
from presence.errors import AssetError

SHAPE_SPACE = 300
"""Columns of `shapedirs` that SMPL-X reserves for shape; expression follows them."""


@dataclasses.dataclass(frozen=True)
class BodyData:
    """The arrays of one body file.

    Attributes:
        name: short name for messages.
        v_template: [V 3] rest mesh of the average person, metres.
        faces: [F 3] vertex indices.
        shapedirs: [V 3 S] shape blend shapes, metres a unit.
        exprdirs: [V 3 E] expression blend shapes, metres a unit.
        posedirs: [486 V*3] pose-corrective blend shapes, or None if the file's are zero.
        joint_regressor: [55 V].
        weights: [V 55] skinning weights.
        uv: [T 2], v upwards.
        faces_uv: [F 3] indices into `uv`.
        expression_names: E names.
        parts: part name to vertex indices.
        mirror_vertices: [V] or None.
        face_charts: [F] UV chart of each face, or None.
        chart_names: C names, or empty.
        chart_cells: [C 4] column, row (from the top), width and height of each chart's rectangle
            on a 64 x 64 grid, or None.
        chart_mirrors: [C] the chart that holds each one's mirror image, or None.
    """

    name: str
    v_template: np.ndarray
    faces: np.ndarray
    shapedirs: np.ndarray
    exprdirs: np.ndarray
    posedirs: np.ndarray | None
    joint_regressor: np.ndarray
    weights: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    expression_names: tuple[str, ...]
    parts: Mapping[str, np.ndarray]
    mirror_vertices: np.ndarray | None = None
    face_charts: np.ndarray | None = None
    chart_names: tuple[str, ...] = ()
    chart_cells: np.ndarray | None = None
    chart_mirrors: np.ndarray | None = None


def read_body(path: Path) -> BodyData:
    """Reads an SMPL-X-layout file.

    Args:
        path: `.npz`, or `.pkl` as SMPL-X is also distributed (see `presence.bodies.pickles`).

    Raises:
        AssetError: the file is missing, unreadable or not in the SMPL-X layout.
    """
    arrays = open_arrays(path)
    missing = [k for k in _REQUIRED if k not in arrays]
    if missing:
        raise AssetError(f"{path} is not an SMPL-X body file: it has no `{missing[0]}`")
    weights = dense(arrays["weights"])
    if weights.shape[1] != NUM_JOINTS:
        raise AssetError(
            f"{path} has {weights.shape[1]} joints, but SMPL-X has {NUM_JOINTS}"
            " (SMPL and SMPL+H files do not fit)"
        )
    parents = np.asarray(arrays["kintree_table"])[0].astype(np.int64).copy()
    parents[0] = -1
    if tuple(parents) != PARENTS:
        raise AssetError(f"{path}: the joint tree is not SMPL-X's")
    shapedirs, exprdirs = _split_directions(arrays)
    faces = np.asarray(arrays["f"]).astype(np.int64)
    uv, faces_uv = _texture(arrays, faces)
    return BodyData(
        name=_text(arrays, "name", path.stem),
        v_template=np.asarray(arrays["v_template"], dtype=np.float64),
        faces=faces,
        shapedirs=shapedirs,
        exprdirs=exprdirs,
        posedirs=_pose_directions(arrays),
        joint_regressor=dense(arrays["J_regressor"]).astype(np.float64),
        weights=weights,
        uv=uv,
        faces_uv=faces_uv,
        expression_names=_names(arrays, "expression_names")
        or tuple(f"expression_{index}" for index in range(exprdirs.shape[-1])),
        parts=_parts(arrays, weights),
        mirror_vertices=_optional(arrays, "mirror_vertices"),
        face_charts=_optional(arrays, "face_charts"),
        chart_names=_names(arrays, "chart_names"),
        chart_cells=_optional(arrays, "chart_cells"),
        chart_mirrors=_optional(arrays, "chart_mirrors"),
    )


_REQUIRED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


def open_arrays(path: Path) -> Mapping[str, Any]:
    """Reads the arrays of a body model's `.npz` or `.pkl` by name.

    Raises:
        AssetError: missing or unreadable.
    """
    if not path.is_file():
        raise AssetError(f"body file {path} does not exist")
    try:
        if path.suffix == ".pkl":
            from presence.bodies.pickles import load_pickle

            return load_pickle(path)
        return np.load(path, allow_pickle=False)
    except AssetError:
        raise
    except Exception as error:
        raise AssetError(f"{path} cannot be read as a body file: {error}") from error


def _split_directions(arrays: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Splits `shapedirs` as SMPL-X does: 300 + expression columns, or 10 + 10 in small files."""
    directions = np.asarray(arrays["shapedirs"])
    if directions.shape[-1] < SHAPE_SPACE + 10:
        return directions[..., :10], directions[..., 10:20]
    num_betas = int(_scalar(arrays, "num_betas", SHAPE_SPACE))
    num_expression = int(
        _scalar(arrays, "num_expression", min(directions.shape[-1] - SHAPE_SPACE, 100))
    )
    expression = directions[..., SHAPE_SPACE : SHAPE_SPACE + num_expression]
    return directions[..., :num_betas], expression


def _pose_directions(arrays: Mapping[str, Any]) -> np.ndarray | None:
    if int(_scalar(arrays, "posedirs_are_zero", 0)):
        return None
    posedirs = np.asarray(arrays["posedirs"])
    return posedirs.reshape(-1, posedirs.shape[-1]).T if posedirs.any() else None


def _texture(arrays: Mapping[str, Any], faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if "vt" in arrays and "ft" in arrays:
        return np.asarray(arrays["vt"], np.float64), np.asarray(arrays["ft"]).astype(np.int64)
    raise AssetError("the body file has no texture coordinates (`vt`, `ft`); use the full .npz")


def _names(arrays: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in np.asarray(arrays[key])) if key in arrays else ()


def _parts(arrays: Mapping[str, Any], weights: np.ndarray) -> dict[str, np.ndarray]:
    if "part_names" in arrays:
        names = [str(name) for name in np.asarray(arrays["part_names"])]
        ids, ends = np.asarray(arrays["part_vertices"]), np.asarray(arrays["part_ends"])
        starts = np.concatenate([[0], ends[:-1]])
        return {n: ids[a:b].astype(np.int64) for n, a, b in zip(names, starts, ends, strict=True)}
    return parts_from_weights(weights)


def parts_from_weights(weights: np.ndarray) -> dict[str, np.ndarray]:
    """Names vertices by the joint that moves them most, where a file has no parts of its own.

    Args:
        weights: [V 55] skinning weights.
    """
    joints_of: dict[str, tuple[str, ...]] = {
        "head": ("head", "jaw", "left_eye", "right_eye"),
        "face": ("head", "jaw", "left_eye", "right_eye"),
        "neck": ("neck",),
        "torso": ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar"),
        "mouth_interior": (),
    }
    for side in ("left", "right"):
        links = [f"{side}_{finger}{link}" for finger in FINGERS for link in (1, 2, 3)]
        joints_of[f"{side}_arm"] = (f"{side}_shoulder", f"{side}_elbow")
        joints_of[f"{side}_hand"] = (f"{side}_wrist", *links)
        joints_of[f"{side}_leg"] = (f"{side}_hip", f"{side}_knee")
        joints_of[f"{side}_foot"] = (f"{side}_ankle", f"{side}_foot")
        joints_of[f"{side}_eye"] = (f"{side}_eye",)
    owner = np.array(JOINT_NAMES)[weights.argmax(1)]
    return {part: np.flatnonzero(np.isin(owner, joints)) for part, joints in joints_of.items()}


def dense(value: Any) -> np.ndarray:
    """Returns an array that may have been stored sparse."""
    return np.asarray(value.todense() if hasattr(value, "todense") else value)


def _scalar(arrays: Mapping[str, Any], key: str, default: float) -> float:
    return float(np.asarray(arrays[key]).item()) if key in arrays else default


def _optional(arrays: Mapping[str, Any], key: str) -> np.ndarray | None:
    return np.asarray(arrays[key]).astype(np.int64) if key in arrays else None


def _text(arrays: Mapping[str, Any], key: str, default: str) -> str:
    return str(np.asarray(arrays[key]).reshape(-1)[0]) if key in arrays else default
