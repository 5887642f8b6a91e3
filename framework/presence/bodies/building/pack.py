"""Writing a body as a compressed `.npz` that both `presence.bodies` and `smplx` load."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from presence.bodies.data import SHAPE_SPACE, BodyData
from presence.bodies.joints import NUM_JOINTS, PARENTS
from presence.io.atomic import atomic_file

EXPRESSION_SPACE = 100
"""Columns of `shapedirs` that SMPL-X reserves for expression."""


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """The 51 static face landmarks of SMPL-X's convention (iBUG 68 without the contour).

    Attributes:
        faces: [51] face of each landmark.
        barycentrics: [51 3].
    """

    faces: np.ndarray
    barycentrics: np.ndarray


def write_body(path: Path, data: BodyData, landmarks: Landmarks, *, step: float = 1e-5) -> None:
    """Writes the file; it appears complete or not at all.

    Blend shapes are rounded to multiples of `step` metres and stored in half precision, which
    compresses well; skinning weights and the regressor stay in single precision.

    Args:
        path: where the `.npz` goes.
        data: the body.
        landmarks: face landmarks, which `smplx` insists on.
        step: rounding of blend shapes, metres a unit.
    """
    arrays = {
        **_smplx_arrays(data, step),
        **_own_arrays(data),
        "lmk_faces_idx": landmarks.faces.astype(np.int64),
        "lmk_bary_coords": landmarks.barycentrics.astype(np.float32),
    }
    with (
        atomic_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
    ):
        for name, array in arrays.items():
            # A fixed date, so that the same body gives the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy", (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _smplx_arrays(data: BodyData, step: float) -> dict[str, np.ndarray]:
    count = len(data.v_template)
    columns = np.zeros((count, 3, SHAPE_SPACE + EXPRESSION_SPACE), np.float16)
    columns[..., : data.shapedirs.shape[-1]] = _round(data.shapedirs, step)
    end = SHAPE_SPACE + data.exprdirs.shape[-1]
    columns[..., SHAPE_SPACE:end] = _round(data.exprdirs, step)
    parents = np.array(PARENTS)
    parents[0] = 2**32 - 1  # as SMPL-X writes "none"
    hand = {
        f"hands_{what}{side}": value.astype(np.float32)
        for side in "lr"
        for what, value in (("components", np.eye(45)), ("mean", np.zeros(45)))
    }
    return {
        "v_template": data.v_template.astype(np.float32),
        "f": data.faces.astype(np.uint32),
        "shapedirs": columns,
        # AnnyX has no pose correctives; the key must exist for `smplx`.
        "posedirs": np.zeros((count, 3, 9 * (NUM_JOINTS - 1)), np.int8),
        "J_regressor": data.joint_regressor.astype(np.float32),
        "weights": data.weights.astype(np.float32),
        "kintree_table": np.stack([parents, np.arange(NUM_JOINTS)]),
        "vt": data.uv.astype(np.float32),
        "ft": data.faces_uv.astype(np.uint32),
        **hand,
    }


def _own_arrays(data: BodyData) -> dict[str, np.ndarray]:
    names = sorted(data.parts)
    arrays = {
        "name": np.array(data.name),
        "num_betas": np.array(data.shapedirs.shape[-1]),
        "num_expression": np.array(data.exprdirs.shape[-1]),
        "posedirs_are_zero": np.array(1),
        "expression_names": np.array(data.expression_names),
        "part_names": np.array(names),
        "part_vertices": np.concatenate([data.parts[n] for n in names]).astype(np.int32),
        "part_ends": np.cumsum([len(data.parts[n]) for n in names]),
    }
    if data.mirror_vertices is not None:
        arrays["mirror_vertices"] = data.mirror_vertices.astype(np.int32)
    if data.face_charts is not None:
        arrays["face_charts"] = data.face_charts.astype(np.int16)
        arrays["chart_names"] = np.array(data.chart_names)
    if data.chart_cells is not None and data.chart_mirrors is not None:
        arrays["chart_cells"] = data.chart_cells.astype(np.int16)
        arrays["chart_mirrors"] = data.chart_mirrors.astype(np.int16)
    return arrays


def _round(directions: np.ndarray, step: float) -> np.ndarray:
    return (np.round(directions.astype(np.float64) / step) * step).astype(np.float16)
