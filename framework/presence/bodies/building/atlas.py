"""The UV atlas: every piece a rectangle of whole 8 x 8 tokens, left and right alike."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.bodies.building.parametrize import rectangle_map, singular_values
from presence.bodies.building.pieces import MIDDLE, Surface, divide, mirror_faces
from presence.bodies.building.seams import open_piece

GRID = 64
"""The atlas is laid out on a 64 x 64 grid: a cell is a token of a 512 x 512 map."""
_PADDING = 1.0 / 512  # kept free inside each rectangle's border, so charts are two texels apart

# column, row (from the top), width, height, rotated by a quarter turn.
_LAYOUT: dict[str, tuple[int, int, int, int, bool]] = {
    "head": (10, 0, 44, 28, False),
    "torso_front": (14, 28, 18, 26, False),
    "torso_back": (32, 28, 18, 26, False),
    "leg": (50, 28, 14, 26, False),
    "arm": (44, 54, 20, 10, True),
    "foot": (32, 54, 12, 10, False),
    "hand": (54, 0, 6, 12, True),
    "thumb": (60, 0, 4, 6, False),
    "pinky": (60, 6, 4, 6, False),
    "index": (54, 12, 5, 6, False),
    "middle": (59, 12, 5, 6, False),
    "ring": (54, 18, 5, 6, False),
    "eye_front": (59, 18, 5, 6, False),
    "mouth_cavity": (54, 24, 4, 4, False),
    "tongue": (58, 24, 2, 4, False),
    "eye_cavity": (60, 24, 2, 4, False),
    "eye_back": (62, 24, 2, 4, False),
}
"""The middle pieces' and the left pieces' rectangles; right pieces mirror the left ones."""


@dataclasses.dataclass(frozen=True)
class Atlas:
    """A texture layout.

    Attributes:
        uv: [T 2], v upwards.
        faces_uv: [F 3] indices into `uv`.
        face_charts: [F] chart of each face.
        chart_names: C names.
        chart_cells: [C 4] column, row, width, height on the 64 x 64 grid, rows from the top.
        chart_mirrors: [C] the chart that each one's mirror image is in (itself for the middle).
    """

    uv: np.ndarray
    faces_uv: np.ndarray
    face_charts: np.ndarray
    chart_names: tuple[str, ...]
    chart_cells: np.ndarray
    chart_mirrors: np.ndarray


def build_atlas(surface: Surface, importance: np.ndarray) -> Atlas:
    """Lays the whole surface out.

    Args:
        surface: the body.
        importance: [V] texels wanted a unit of area, relative within each chart.
    """
    names = divide(surface)
    maps = {
        kind if kind in MIDDLE else f"left_{kind}": _chart(surface, names, kind, importance)
        for kind in _LAYOUT
    }
    charts = sorted(set(names))
    uv, faces_uv = [], np.zeros(surface.faces.shape, dtype=np.int64)
    used = 0
    mirrored_face = mirror_faces(surface)
    for chart in charts:
        mine = np.flatnonzero(names == chart)
        right = chart.startswith("right_")
        corners, where = maps[chart.replace("right_", "left_")]
        if right:
            corners = _mirror_corners(surface, names, chart, mine, mirrored_face, corners)
            where = where * [-1.0, 1.0] + [1.0, 0.0]
        faces_uv[mine] = corners + used
        uv.append(where)
        used += len(where)
    cells = np.array([_cell(chart) for chart in charts])
    mirrors = [charts.index(_other(chart)) for chart in charts]
    return Atlas(
        uv=np.concatenate(uv),
        faces_uv=faces_uv,
        face_charts=np.array([charts.index(n) for n in names]),
        chart_names=tuple(charts),
        chart_cells=cells,
        chart_mirrors=np.array(mirrors),
    )


def _other(chart: str) -> str:
    if chart.startswith("left_"):
        return chart.replace("left_", "right_")
    return chart.replace("right_", "left_")


def _cell(chart: str) -> tuple[int, int, int, int]:
    column, row, width, height, _ = _LAYOUT[chart.removeprefix("left_").removeprefix("right_")]
    if chart.startswith("right_"):
        column = GRID - column - width
    return column, row, width, height


def _chart(
    surface: Surface, names: np.ndarray, kind: str, importance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns local corners [f 3] and atlas coordinates [n 2] of one chart."""
    piece = kind if kind in MIDDLE else f"left_{kind}"
    column, row, width, height, rotated = _LAYOUT[kind]
    disk, corner_at = open_piece(surface, names, piece)
    size = (height, width) if rotated else (width, height)
    square = rectangle_map(disk, surface.rest, corner_at, importance, size)
    if kind in MIDDLE:
        square = _symmetric(surface, disk.origin, disk.corners, square)
    if rotated:
        square = np.stack([square[:, 1], 1.0 - square[:, 0]], 1)
    low = np.array([column, GRID - row - height]) / GRID + _PADDING
    high = np.array([column + width, GRID - row]) / GRID - _PADDING
    return disk.corners, low + square * (high - low)


def _symmetric(
    surface: Surface, origin: np.ndarray, corners: np.ndarray, square: np.ndarray
) -> np.ndarray:
    """Averages a middle chart with its mirror image, which its one-to-one map nearly equals."""
    from scipy.spatial import cKDTree

    flipped = square * [-1.0, 1.0] + [1.0, 0.0]
    partner = np.empty(len(square), dtype=int)
    copies: dict[int, list[int]] = {}
    for local, vertex in enumerate(origin):
        copies.setdefault(int(vertex), []).append(local)
    for local, vertex in enumerate(origin):
        options = copies[int(surface.mirror[vertex])]
        _, nearest = cKDTree(square[options]).query(flipped[local])
        partner[local] = options[nearest]
    return (square + square[partner] * [-1.0, 1.0] + [1.0, 0.0]) / 2


def _mirror_corners(
    surface: Surface,
    names: np.ndarray,
    chart: str,
    mine: np.ndarray,
    mirrored_face: np.ndarray,
    corners: np.ndarray,
) -> np.ndarray:
    """Local corners of a right chart's faces, from the left chart's."""
    theirs = np.flatnonzero(names == chart.replace("right_", "left_"))
    row_of = {int(face): row for row, face in enumerate(theirs)}
    out = np.empty((len(mine), 3), dtype=np.int64)
    for row, face in enumerate(mine):
        twin = int(mirrored_face[face])
        local = dict(zip(surface.faces[twin].tolist(), corners[row_of[twin]], strict=True))
        out[row] = [local[int(surface.mirror[v])] for v in surface.faces[face]]
    return out


def measure(
    atlas: Atlas, vertices: np.ndarray, faces: np.ndarray, size: int = 512
) -> dict[str, float]:
    """Returns figures of an atlas: coverage, shares, overlap and stretch.

    Coverage and overlap are counted on texel centres of a `size` x `size` map. Conformal
    stretch is the ratio of the two singular values of the surface-from-chart map; area stretch
    is the larger of a face's texel density over its chart's mean and the reverse.
    """
    counts, _ = texel_faces(atlas.uv, atlas.faces_uv, size)
    names = np.array(atlas.chart_names)[atlas.face_charts]
    corner = atlas.uv[atlas.faces_uv]
    ab, ac = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    signed = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]) / 2
    covered = {n: float(signed[names == n].sum()) for n in atlas.chart_names}
    total = sum(covered.values())
    singular, area = singular_values(corner, vertices[faces])
    conformal = singular[:, 0] / np.maximum(singular[:, 1], 1e-12)
    density = np.maximum(signed, 1e-12) / area
    spread = np.empty(len(faces))
    for chart in range(len(atlas.chart_names)):
        mine = atlas.face_charts == chart
        relative = density[mine] / (signed[mine].sum() / area[mine].sum())
        spread[mine] = np.maximum(relative, 1 / relative)
    figures = {
        "charts": float(len(atlas.chart_names)),
        "coverage": float((counts > 0).mean()),
        "overlapping texels": float((counts > 1).sum()),
        "flipped or empty faces": float((signed <= 0).sum()),
        "head share": sum(a for n, a in covered.items() if _is_head(n)) / total,
        "hands share": sum(a for n, a in covered.items() if _is_hand(n)) / total,
    }
    for what, values in (("conformal stretch", conformal), ("area stretch", spread)):
        figures[f"{what} mean"] = float(np.average(values, weights=area))
        figures[f"{what} 95%"] = _weighted_quantile(values, area, 0.95)
        figures[f"{what} max"] = float(values.max())
    return figures


def _is_head(name: str) -> bool:
    inner = ("eye_front", "eye_back", "eye_cavity", "mouth_cavity", "tongue")
    return name == "head" or name.split("_", 1)[-1] in inner


def _is_hand(name: str) -> bool:
    return name.split("_")[-1] in ("hand", "thumb", "index", "middle", "ring", "pinky")


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), share * weights.sum())])


def texel_faces(uv: np.ndarray, faces_uv: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for every texel centre, how many faces hold it and one of them (-1: none).

    Edges belong to the face whose inside is to their right or above (a half-open rule), so that
    texels on shared edges are counted once.
    """
    counts = np.zeros((size, size), dtype=np.int64)
    owner = np.full((size, size), -1, dtype=np.int64)
    corners = np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1)[faces_uv] * size
    for face, triangle in enumerate(corners):
        low = np.maximum(np.ceil(triangle.min(0) - 0.5).astype(int), 0)
        high = np.minimum(np.floor(triangle.max(0) - 0.5).astype(int), size - 1)
        if (high < low).any():
            continue
        x, y = np.meshgrid(
            np.arange(low[0], high[0] + 1) + 0.5, np.arange(low[1], high[1] + 1) + 0.5
        )
        inside = np.ones(x.shape, dtype=bool)
        if _cross(triangle[0], triangle[1], *triangle[2]) < 0:
            triangle = triangle[::-1]
        for k in range(3):
            a, b = triangle[k], triangle[(k + 1) % 3]
            value = _cross(a, b, x, y)
            owns_edge = (b[1] - a[1] < 0) or (b[1] == a[1] and b[0] - a[0] > 0)
            inside &= (value > 0) | ((value == 0) & owns_edge)
        counts[low[1] : high[1] + 1, low[0] : high[0] + 1] += inside
        owner[low[1] : high[1] + 1, low[0] : high[0] + 1][inside] = face
    return counts, owner


def _cross(a: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
