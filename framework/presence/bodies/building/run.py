"""What `tools/build_body.py` does: build, write, load again, measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from presence.bodies.body import Body
from presence.bodies.building.anny_source import AnnySource
from presence.bodies.building.annyx import BuildOptions, build_annyx
from presence.bodies.building.atlas import Atlas, measure
from presence.bodies.data import BodyData, read_body
from presence.errors import AssetError
from presence.io.atomic import atomic_file


def build_and_report(
    out: Path,
    options: BuildOptions,
    *,
    landmarks: Path | None = None,
    picture: Path | None = None,
    figures: bool = True,
) -> list[str]:
    """Builds AnnyX, writes it and measures the file as written.

    Args:
        out: body file to write.
        options: sizes and seed.
        landmarks: landmark map to take SMPL-X's face landmarks from.
        picture: where to draw the result, if anywhere.
        figures: compare the result with Anny, which takes about a minute.

    Returns:
        Lines for people.

    Raises:
        AssetError: the `anny` package is not installed.
    """
    from presence.bodies.building.landmarks import read_landmarks
    from presence.bodies.building.pack import write_body

    marks = read_landmarks(landmarks)
    source = _open_anny()
    data = build_annyx(source, options)
    write_body(out, data, marks)
    data = read_body(out)
    body = Body(data)
    lines = [f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB): {body.extra_repr()}"]
    lines += atlas_lines(data)
    if figures:
        lines += _figure_lines(source, body)
    if picture is not None:
        from presence.bodies.building.pictures import picture as draw

        with atomic_file(picture) as temporary:
            draw(body).save(temporary)
        lines.append(f"wrote {picture}")
    return lines


def atlas_lines(data: BodyData) -> list[str]:
    """Returns the atlas's figures, one a line."""
    if data.chart_cells is None:
        return []
    figures = measure(atlas_of(data), data.v_template, data.faces)
    return [f"atlas, {name}: {value:.4g}" for name, value in figures.items()]


def atlas_of(data: BodyData) -> Atlas:
    """Returns the atlas stored in a body file.

    Raises:
        AssetError: the file has no chart table.
    """
    if data.chart_cells is None or data.face_charts is None or data.chart_mirrors is None:
        raise AssetError(f"{data.name} has no chart table")
    return Atlas(
        uv=np.asarray(data.uv, np.float64),
        faces_uv=data.faces_uv,
        face_charts=data.face_charts,
        chart_names=data.chart_names,
        chart_cells=data.chart_cells,
        chart_mirrors=data.chart_mirrors,
    )


def _open_anny() -> AnnySource:
    try:
        return AnnySource()
    except ModuleNotFoundError as error:
        raise AssetError(
            f"building AnnyX needs the package `{error.name}`: pip install presence3d[build-body]"
        ) from error


def _figure_lines(source: AnnySource, body: Body) -> list[str]:
    from presence.bodies.building.figures import joint_figures, pose_figures, shape_figures

    lines = [f"shape, {k}: {v}" for k, v in shape_figures(source, body).items()]
    lines.append(f"joints, regressed against Anny's: {joint_figures(source, body)}")
    lines += [f"pose, {k}: {v}" for k, v in pose_figures(source, body).items()]
    return lines
