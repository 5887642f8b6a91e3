"""Mapping a disk of mesh faces one-to-one onto a rectangle with little stretch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# Sides of the unit square bulge outwards by this share of their length, so that the boundary
# is strictly convex; the tip of a face with two edges on one side stands out by this many cells,
# half a texel at 512, so that the face keeps an area. (Nothing else hangs on such a tip, and
# without it the boundary is convex, so the map stays one-to-one.)
_BULGE, _TIP = 1e-3, 0.06


@dataclasses.dataclass(frozen=True)
class Disk:
    """A piece of surface cut open to a disk.

    Attributes:
        corners: [f 3] local vertex of each face corner; copies along cuts are distinct.
        origin: [n] the mesh vertex that each local vertex is a copy of.
        loop: [b] boundary in the direction of the faces, seen from outside.
        holes: loops that are to be closed inside the disk (eye openings, the mouth).
    """

    corners: np.ndarray
    origin: np.ndarray
    loop: np.ndarray
    holes: tuple[np.ndarray, ...]


def cut_open(faces: np.ndarray, cuts: list[list[int]]) -> Disk:
    """Separates faces along vertex paths.

    Args:
        faces: [f 3] mesh vertex indices.
        cuts: paths of mesh vertices, each edge of which becomes two boundary edges.

    Raises:
        ValueError: the result is not a disk with holes.
    """
    cut = {_edge(a, b) for path in cuts for a, b in zip(path[:-1], path[1:], strict=True)}
    parent = np.arange(faces.size)

    def find(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    sides: dict[tuple[int, int], tuple[int, int]] = {}
    for face, triangle in enumerate(faces):
        for k in range(3):
            a, b = int(triangle[k]), int(triangle[(k + 1) % 3])
            here = (3 * face + k, 3 * face + (k + 1) % 3)
            other = sides.pop((b, a), None)
            if other is None or _edge(a, b) in cut:
                sides[(a, b)] = here
            else:
                parent[find(here[0])] = find(other[1])
                parent[find(here[1])] = find(other[0])
    roots = np.array([find(item) for item in range(faces.size)])
    unique, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
    corners = inverse.reshape(faces.shape)
    origin = faces.reshape(-1)[first]
    loops = boundary_loops(corners)
    lengths = [len(loop) for loop in loops]
    if not loops:
        raise ValueError("the piece is closed; it needs a cut")
    outer = _outer_loop(loops, origin, cut)
    euler = len(unique) - len(np.unique(_edges(corners), axis=0)) + len(corners)
    if euler + len(loops) - 1 != 1:
        raise ValueError(f"not a disk: Euler number {euler}, boundary loops {lengths}")
    holes = tuple(loop for index, loop in enumerate(loops) if index != outer)
    return Disk(corners, origin, loops[outer], holes)


def _outer_loop(loops: list[np.ndarray], origin: np.ndarray, cut: set[tuple[int, int]]) -> int:
    """The loop that carries the cuts, or the longest one."""
    on_cut = np.array(sorted({vertex for edge in cut for vertex in edge}), dtype=int)
    score = [(np.isin(origin[loop], on_cut).sum(), len(loop)) for loop in loops]
    return max(range(len(loops)), key=score.__getitem__)


def _edge(a: int, b: int) -> tuple[int, int]:
    return (int(min(a, b)), int(max(a, b)))


def _edges(corners: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate([corners[:, [k, (k + 1) % 3]] for k in range(3)]), 1)


def boundary_loops(corners: np.ndarray) -> list[np.ndarray]:
    """Returns the boundary loops of faces [f 3], each in the direction of its faces."""
    half = {(int(t[k]), int(t[(k + 1) % 3])) for t in corners for k in range(3)}
    following = {a: b for a, b in sorted(half) if (b, a) not in half}
    loops = []
    while following:
        start = min(following)
        loop, at = [start], following.pop(start)
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(np.array(loop))
    return loops


def rectangle_map(
    disk: Disk,
    vertices: np.ndarray,
    corner_at: tuple[int, int, int, int],
    importance: np.ndarray,
    size: tuple[float, float],
    *,
    iterations: int = 40,
) -> np.ndarray:
    """Maps a disk onto the unit square, boundary onto boundary.

    Args:
        disk: what `cut_open` gave.
        vertices: [V 3] mesh vertices, metres.
        corner_at: positions in `disk.loop` of the lower left, lower right, upper right and
            upper left corner.
        importance: [V] texels wanted a unit of area, relative to other vertices.
        size: width and height of the rectangle that the square will fill, in tokens.
        iterations: stretch reduction steps; the best one is kept.

    Returns:
        [n 2] coordinates of the local vertices in the unit square.

    Every interior vertex is a convex combination of its neighbours and the boundary is convex,
    so no face flips (Tutte 1963, Floater 1997). The weights start as mean value coordinates
    (Floater 2003) and are divided step by step by each neighbour's stretch (Yoshizawa, Belyaev
    and Seidel 2004, Eq. 4), which evens stretch out.
    """
    points = vertices[disk.origin]
    boundary = _place_boundary(disk, points, corner_at, size)
    corners, points = _close_holes(disk, points)
    weights = _mean_value_weights(corners, points)
    scale = np.ones(len(points))
    scale[: len(disk.origin)] = np.sqrt(importance[disk.origin])
    scale[len(disk.origin) :] = 0.1  # holes are to shrink, to about what they are on the body
    real = len(disk.corners)
    best, best_energy = None, np.inf
    for _ in range(iterations + 1):
        uv = _solve(weights, disk.loop, boundary, len(points))
        sized = uv[corners] * np.asarray(size)
        stretch, area = face_stretch(sized, points[corners], scale[corners])
        energy = (area * stretch**2)[:real].sum() / area[:real].sum()
        if energy < best_energy:
            best, best_energy = uv, energy
        weights = _reweight(weights, corners, stretch, area)
    assert best is not None
    return best[: len(disk.origin)]


def face_stretch(
    uv: np.ndarray, points: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each face's root-mean-square stretch (surface over chart) and surface area.

    Args:
        uv: [f 3 2] chart coordinates.
        points: [f 3 3] surface points.
        scale: [f 3] how much the surface is to be enlarged.

    Source: Sander et al. 2001, "Texture Mapping Progressive Meshes", Eq. L2.
    """
    singular, area = singular_values(uv, points)
    wanted = scale.mean(1)
    return np.sqrt((singular**2).mean(1)) * wanted, area * wanted**2


def singular_values(uv: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns singular values [f 2] of each face's surface-from-chart map, and areas [f]."""
    (ax, ay), (bx, by) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    determinant = ax * by - ay * bx
    determinant = np.where(np.abs(determinant) < 1e-14, 1e-14, determinant)
    p, q = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    du = (p * by[:, None] - q * ay[:, None]) / determinant[:, None]
    dv = (q * ax[:, None] - p * bx[:, None]) / determinant[:, None]
    a, b, c = (du * du).sum(1), (du * dv).sum(1), (dv * dv).sum(1)
    root = np.sqrt(np.maximum((a - c) ** 2 + 4 * b**2, 0))
    values = np.sqrt(np.maximum(np.stack([a + c + root, a + c - root], 1) / 2, 0))
    return values, np.linalg.norm(np.cross(p, q), axis=1) / 2


def _place_boundary(
    disk: Disk,
    points: np.ndarray,
    corner_at: tuple[int, int, int, int],
    size: tuple[float, float],
) -> np.ndarray:
    """Puts the loop on the unit square, each side by arc length, bulging slightly."""
    loop = disk.loop
    tips = np.bincount(disk.corners.ravel())[loop] == 1
    ends = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    out = np.empty((len(loop), 2))
    for side in range(4):
        first, last = corner_at[side], corner_at[(side + 1) % 4]
        count = (last - first) % len(loop)
        places = (first + np.arange(count + 1)) % len(loop)
        along = np.linalg.norm(np.diff(points[loop[places]], axis=0), axis=1)
        t = np.concatenate([[0.0], np.cumsum(along)]) / along.sum()
        direction = ends[side + 1] - ends[side]
        outward = np.array([direction[1], -direction[0]])
        line = ends[side] + t[:, None] * direction
        out_by = _BULGE * 4 * t * (1 - t)
        out_by[1:-1] += tips[places[1:-1]] * _TIP / size[1 - side % 2]
        out[places] = line + out_by[:, None] * outward
    return out


def _close_holes(disk: Disk, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds a centre vertex and a fan of faces to every hole."""
    corners: list[np.ndarray] = [disk.corners]
    extra: list[np.ndarray] = []
    for hole in disk.holes:
        centre = len(points) + len(extra)
        extra.append(points[hole].mean(0))
        fan = np.stack([np.roll(hole, -1), hole, np.full(len(hole), centre)], 1)
        corners.append(fan)
    return np.concatenate(corners), np.concatenate([points, *[e[None] for e in extra]])


def _mean_value_weights(corners: np.ndarray, points: np.ndarray) -> Any:
    from scipy import sparse

    rows, columns, values = [], [], []
    for k in range(3):
        i, j, other = corners[:, k], corners[:, (k + 1) % 3], corners[:, (k + 2) % 3]
        a, b = points[j] - points[i], points[other] - points[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = np.clip((a * b).sum(1) / np.maximum(la * lb, 1e-15), -1, 1)
        half = np.tan(np.arccos(cosine) / 2)
        for target, length in ((j, la), (other, lb)):
            rows.append(i)
            columns.append(target)
            values.append(half / np.maximum(length, 1e-9))
    entries = (np.concatenate(rows), np.concatenate(columns))
    size = (len(points), len(points))
    weights = sparse.csr_matrix((np.maximum(np.concatenate(values), 1e-6), entries), shape=size)
    return _normalised(weights)


def _normalised(weights: Any) -> Any:
    from scipy import sparse

    return sparse.diags(1.0 / np.asarray(weights.sum(1)).ravel()) @ weights


def _solve(weights: Any, loop: np.ndarray, boundary: np.ndarray, count: int) -> np.ndarray:
    from scipy import sparse
    from scipy.sparse.linalg import splu

    uv = np.zeros((count, 2))
    uv[loop] = boundary
    inside = np.setdiff1d(np.arange(count), loop)
    rows = weights[inside]
    system = sparse.eye(len(inside)) - rows[:, inside]
    uv[inside] = splu(system.tocsc()).solve(np.asarray(rows[:, loop] @ boundary))
    return uv


def _reweight(weights: Any, corners: np.ndarray, stretch: np.ndarray, area: np.ndarray) -> Any:
    from scipy import sparse

    total, share = np.zeros(weights.shape[0]), np.zeros(weights.shape[0])
    np.add.at(total, corners, (area * np.minimum(stretch, 1e3) ** 2)[:, None])
    np.add.at(share, corners, area[:, None])
    seen = share > 0
    vertex = np.ones(len(total))
    vertex[seen] = np.sqrt(total[seen] / share[seen])
    vertex /= np.median(vertex[seen])
    return _normalised(weights @ sparse.diags(np.clip(vertex, 0.05, 20.0) ** -0.5))
