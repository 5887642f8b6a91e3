"""Derives surface landmarks: detections on renders are cast back onto the mesh and averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.tracking.detection import SET_SIZES
from presence.tracking.face_regions import (
    INNER_LIPS,
    IRISES,
    LEFT_BROW,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_IRIS,
)
from presence.tracking.landmark_renders import RenderedPerson
from presence.tracking.landmarks import LandmarkSet
from presence.tracking.nearest import closest_on_triangles, geometric_median
from presence.tracking.relaxed import JOINT
from presence.tracking.shading import eyeball

FaceDetect = Callable[[np.ndarray], np.ndarray | None]
_COUNT = SET_SIZES["face"]
_SEARCH = 3  # px: a landmark just off the allowed surface takes the nearest allowed pixel
_FACING = 0.3  # cosine below which a surface is seen too obliquely to be hit reliably
_FEWEST = 8  # hits
_BROW_TOP = 0.024  # m from the pupil up to the brow's upper edge, a usual adult measure
_IRIS_RADIUS = 0.00585  # m, nearly the same for all people


@dataclasses.dataclass
class FaceHits:
    """What landmarks hit, over many renders.

    Attributes:
        points: for each landmark a list of [3] positions on the canonical mesh, metres.
        mirrored: [478 478] summed distances between a landmark and the mirror image of another
            one that was detected in the mirrored picture, px.
        seen: number of renders with a detection.
        tried: number of renders.
    """

    points: list[list[np.ndarray]] = dataclasses.field(
        default_factory=lambda: [[] for _ in range(_COUNT)]
    )
    mirrored: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((_COUNT, _COUNT)))
    seen: int = 0
    tried: int = 0


class FaceCaster:
    """Casts face landmarks onto a body model and condenses them to one point each.

    The points are averaged on a canonical mesh whose mouth stands open, so that an upper and a
    lower lip that touch in the rest pose stay apart.

    Args:
        body: the model.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        params = body.default_params()
        params.pose[JOINT["jaw"], 0] = 0.35
        mesh = body(params)
        self.canonical = mesh.vertices.double().numpy()
        self.faces = body.topology.faces.numpy()
        hidden = np.zeros(body.num_vertices, bool)
        for part in ("left_eye", "right_eye", "mouth_interior", "interior"):
            if part in body.vertex_parts:
                hidden[body.vertex_parts[part].numpy()] = True
        head = np.zeros(body.num_vertices, bool)
        head[body.vertex_parts["head"].numpy()] = True
        self.skin = head[self.faces].all(1) & ~hidden[self.faces].any(1)

    def collect(self, people: Iterable[RenderedPerson], detect: FaceDetect) -> FaceHits:
        """Detects on every render and on its mirror image.

        Args:
            people: renders of heads.
            detect: [H W 3] uint8 to [478 2] px, or None.
        """
        hits = FaceHits()
        for person in people:
            hits.tried += 1
            marks = detect(person.image)
            flipped = detect(np.ascontiguousarray(person.image[:, ::-1]))
            if marks is None or flipped is None:
                continue
            hits.seen += 1
            flipped = flipped * (-1, 1) + (person.image.shape[1], 0)
            hits.mirrored += np.linalg.norm(marks[:, None] - flipped[None], axis=-1)
            self._cast(person, marks, hits)
        return hits

    def _cast(self, person: RenderedPerson, marks: np.ndarray, hits: FaceHits) -> None:
        ids = person.view.fragments.face_ids.numpy()
        weights = person.view.fragments.barycentrics.double().numpy()
        allowed = self._allowed(person)
        mouth_open = self._mouth_open(person)
        for index, (x, y) in enumerate(marks):
            if index in IRISES or (index in INNER_LIPS and not mouth_open):
                continue
            pixel = _nearest_allowed(allowed, x, y)
            if pixel is not None:
                corners = self.canonical[self.faces[ids[pixel]]]  # [3 3]
                hits.points[index].append(weights[pixel] @ corners)

    def _allowed(self, person: RenderedPerson) -> np.ndarray:
        """Pixels [H W] that show the head's skin, not too obliquely."""
        ids = person.view.fragments.face_ids.numpy()
        vertices = person.mesh.vertices.double().numpy()
        corners = vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sight = person.camera.position.double().numpy() - corners.mean(1)
        cosine = (normals * sight).sum(-1) / (
            np.linalg.norm(normals, axis=-1) * np.linalg.norm(sight, axis=-1) + 1e-12
        )
        usable = self.skin & (cosine > _FACING)
        return (ids >= 0) & usable[ids.clip(0)]

    def _mouth_open(self, person: RenderedPerson) -> bool:
        return float(person.params.pose[JOINT["jaw"], 0]) > 0.08

    def condense(self, hits: FaceHits) -> LandmarkSet:
        """Returns one surface point for each landmark, the same on both sides of the face."""
        medians, spread = np.zeros((_COUNT, 3)), np.full(_COUNT, np.nan)
        for index, points in enumerate(hits.points):
            if len(points) >= _FEWEST:
                medians[index] = geometric_median(np.array(points))
        partner = _partners(hits.mirrored)
        mirrored = medians[partner] * (-1, 1, 1)
        known = medians.any(1)
        both = known & known[partner]
        medians[both] = 0.5 * (medians[both] + mirrored[both])
        for index, points in enumerate(hits.points):
            if len(points) >= _FEWEST:
                gaps = np.linalg.norm(np.array(points) - medians[index], axis=1)
                spread[index] = np.median(gaps)
        faces, weights = self._project(medians, known)
        self._add_irises(faces, weights, spread)
        missing = np.flatnonzero(np.isnan(spread))
        spread[missing] = 0.02  # never used with any weight
        none = torch.full((_COUNT,), -1)
        return LandmarkSet(
            torch.from_numpy(faces),
            torch.from_numpy(weights).float(),
            none,
            none,
            torch.zeros(_COUNT, 3),
            torch.from_numpy(spread).float(),
        )

    def _project(self, points: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        candidates = np.flatnonzero(self.skin)
        corners = self.canonical[self.faces[candidates]]  # [F 3 3]
        centres = corners.mean(1)
        faces, weights = np.zeros(_COUNT, np.int64), np.tile([1.0, 0, 0], (_COUNT, 1))
        for index in np.flatnonzero(known):
            near = np.argsort(np.linalg.norm(centres - points[index], axis=1))[:64]
            bary, gaps = closest_on_triangles(points[index], corners[near])
            best = gaps.argmin()
            faces[index], weights[index] = candidates[near[best]], bary[best]
        return faces, weights

    def _add_irises(self, faces: np.ndarray, weights: np.ndarray, spread: np.ndarray) -> None:
        """Places iris landmarks on the eyeballs by geometry, in the order right, top, left, bottom.

        MediaPipe numbers the ring by the picture's directions, seen from the front.
        """
        rest = self.body.v_template.double().numpy()
        for side, first in (("right", RIGHT_IRIS[0]), ("left", LEFT_IRIS[0])):
            middle, size = eyeball(self.body, self.body.v_template, side)
            centre, radius = middle.double().numpy(), float(size)
            angle = float(np.arcsin(min(_IRIS_RADIUS / radius, 0.9)))
            members = np.zeros(self.body.num_vertices, bool)
            members[self.body.vertex_parts[f"{side}_eye"].numpy()] = True
            candidates = np.flatnonzero(members[self.faces].all(1))
            corners = rest[self.faces[candidates]]
            # World +x is the person's left, the picture's right.
            steps = ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1))
            for offset, (u, v) in enumerate(steps):
                direction = np.array([u * np.sin(angle), v * np.sin(angle), 1.0])
                direction[2] = np.sqrt(1 - direction[0] ** 2 - direction[1] ** 2)
                bary, gaps = closest_on_triangles(centre + radius * direction, corners)
                best = gaps.argmin()
                faces[first + offset] = candidates[best]
                weights[first + offset] = bary[best]
                spread[first + offset] = 0.001

    def makeup(self, marks: LandmarkSet) -> dict[str, Tensor]:
        """Returns the vertices of lips and brows, from landmarks that were found without any."""
        corners = self.canonical[self.faces[marks.face_ids.numpy()]]
        points = (corners * marks.barycentrics.double().numpy()[..., None]).sum(1)
        front = np.flatnonzero(np.isin(np.arange(len(self.canonical)), self.faces[self.skin]))
        front = front[self.canonical[front, 2] > points[:, 2].min()]
        where = self.canonical[front, :2]
        lips = _inside(where, points[list(OUTER_LIPS), :2])
        lips &= ~_inside(where, points[list(INNER_LIPS), :2])
        brows = np.zeros(len(front), bool)
        for brow, iris in ((LEFT_BROW, LEFT_IRIS[0]), (RIGHT_BROW, RIGHT_IRIS[0])):
            outline = points[list(brow), :2]
            # On bare skin the detector guesses brows too low; people's are known to be higher.
            outline[:, 1] += points[iris, 1] + _BROW_TOP - outline[:, 1].max()
            brows |= _inside(where, outline)
        return {
            "lips": torch.from_numpy(front[lips]),
            "brows": torch.from_numpy(front[brows]),
        }


def _nearest_allowed(allowed: np.ndarray, x: float, y: float) -> tuple[int, int] | None:
    row, column = int(np.floor(y)), int(np.floor(x))
    height, width = allowed.shape
    if not (0 <= row < height and 0 <= column < width):
        return None
    if allowed[row, column]:
        return row, column
    top, left = max(row - _SEARCH, 0), max(column - _SEARCH, 0)
    rows, columns = np.nonzero(allowed[top : row + _SEARCH + 1, left : column + _SEARCH + 1])
    if len(rows) == 0:
        return None
    gaps = np.hypot(rows + top + 0.5 - y, columns + left + 0.5 - x)
    best = gaps.argmin()
    return int(rows[best] + top), int(columns[best] + left)


def _partners(distances: np.ndarray) -> np.ndarray:
    """Returns [K] the mirror partner of each landmark: the assignment of least summed distance."""
    from scipy.optimize import linear_sum_assignment

    _, partner = linear_sum_assignment(distances + distances.T)
    return partner


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    from skimage.measure import points_in_poly

    return points_in_poly(points, polygon)
