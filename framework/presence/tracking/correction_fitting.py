"""Derives a `LandmarkCorrection` from detections on people whose bodies are known."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.structures import Camera, ProxyMesh
from presence.tracking.consistency import consistent
from presence.tracking.detection import POSE_NAMES, Detection
from presence.tracking.landmark_clothed import ClothedPerson
from presence.tracking.landmark_correction import CORRECTED, LandmarkCorrection, partners
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.linear_correction import standardized
from presence.tracking.person_frame import SHOULDERS, PersonFrame, describe
from presence.tracking.regression import ridge_pull, robust_ridge
from presence.tracking.silhouette import SilhouetteTarget

Watch = Callable[[np.ndarray], tuple[Detection, np.ndarray] | None]
# Pulls towards zero, in observations of one deviation; chosen on 225 other people.
_RIDGE, _RIDGE_DEVIATION = 150.0, 450.0
_ROBUST, _ROBUST_METRIC = 0.06, 0.1  # m, residuals well beyond count little (Geman-McClure)
_SMALLEST_SCALE = 0.01  # of a description's deviation, so that constants stay constants
_FEWEST, _FOLDS = 60, 5
_FLOOR = 0.004  # m, the least deviation along one axis
# A residual's geometric mean to its deviation: exp(-E[log of |r| / sqrt 2]) of two normal axes is
# 1.33; 1.25 gave a root mean square of one over all landmarks of held-out people.
_SPREAD = 1.25
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SeenPerson:
    """A person whose body is known, and what was detected.

    Attributes:
        detection: as it came from the detector.
        alpha: [H W] in 0..1.
        mesh: unbatched.
        camera: unbatched.
    """

    detection: Detection
    alpha: np.ndarray
    mesh: ProxyMesh
    camera: Camera


@dataclasses.dataclass(frozen=True)
class _Row:
    """One person's observation and the mirrored one's.

    Attributes:
        described: [2 F].
        shift: [2 K 2] m.
        metric: [2 K 3] m.
        inside: [2 K] whether the true landmark is in the picture.
    """

    described: Tensor
    shift: Tensor
    metric: Tensor
    inside: Tensor


def fit_correction(
    body: Body, landmarks: LandmarkMap, people: Iterable[SeenPerson]
) -> LandmarkCorrection:
    """Fits what landmarks are off by, and what remains.

    Args:
        body: the model that the people are made of.
        landmarks: where the detector's landmarks belong on it.
        people: some hundreds; those without a pose are passed over.
    """
    rows = []
    for person in people:
        detection = consistent(person.detection)
        if "pose" in detection.keypoints and "pose" in detection.world:
            person = dataclasses.replace(person, detection=detection)
            rows.append(_observe(body, landmarks, person))
    _log.info("%d people with a pose", len(rows))
    described = torch.cat([row.described for row in rows])
    inside = torch.cat([row.inside for row in rows])
    mean = described.nanmean(0)
    known = torch.where(described.isnan(), mean, described)
    scale = known.std(0).clamp_min(_SMALLEST_SCALE)
    table = standardized(described, mean, scale).double()
    folds = torch.arange(len(rows)).repeat_interleave(2) % _FOLDS
    shift, left = _regress(table, torch.cat([r.shift for r in rows]), inside, _ROBUST, folds)
    metric, _ = _regress(table, torch.cat([r.metric for r in rows]), inside, _ROBUST_METRIC)
    return LandmarkCorrection(
        mean,
        scale,
        1e3 * shift.float(),
        1e3 * metric.float(),
        _log_deviation(table, left, inside).float(),
    )


def _observe(body: Body, landmarks: LandmarkMap, person: SeenPerson) -> _Row:
    detection, camera = person.detection, person.camera
    frame, mask = PersonFrame.of(detection), SilhouetteTarget(person.alpha)
    points = landmarks.points(body, "pose", person.mesh)
    px, _ = camera.project(points)
    inside = _inside(px, camera)[CORRECTED]
    shift = (px - detection.keypoints["pose"][:, :2])[CORRECTED] / frame.px_per_metre
    true = points @ camera.cam_from_world[:3, :3].T
    found = detection.world["pose"]
    metric = (true - true[SHOULDERS].mean(0)) - (found - found[SHOULDERS].mean(0))
    return _Row(
        describe(detection, mask),
        _with_mirror(shift, (-1.0, 1.0)),
        _with_mirror(metric[CORRECTED], (-1.0, 1.0, 1.0)),
        torch.stack([inside, inside[partners()]]),
    )


def _with_mirror(values: Tensor, flip: tuple[float, ...]) -> Tensor:
    return torch.stack([values, values[partners()] * torch.tensor(flip)])


def _regress(
    table: Tensor, targets: Tensor, inside: Tensor, robust: float, folds: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Robust ridge regression of each landmark.

    Args:
        table: [M F+1].
        targets: [M K D] m.
        inside: [M K] which count.
        robust: m.
        folds: [M] numbers of parts that are predicted from the others, for the second result.

    Returns:
        [F+1 K D], and residuals [M K D] of left-out parts (of none, without folds).
    """
    tables = torch.zeros(table.shape[1], *targets.shape[1:], dtype=torch.float64)
    left = targets.double().clone()
    for number in range(targets.shape[1]):
        chosen = inside[:, number]
        if int(chosen.sum()) < _FEWEST:
            continue
        rows, goal = table[chosen], targets[chosen, number].double()
        tables[:, number] = robust_ridge(rows, goal, _RIDGE, robust)
        if folds is not None:
            part, rest = folds[chosen], goal.clone()
            for fold in range(_FOLDS):
                out = part == fold
                rest[out] -= rows[out] @ robust_ridge(rows[~out], goal[~out], _RIDGE, robust)
            left[chosen, number] = rest
    return tables, left


def _log_deviation(table: Tensor, left: Tensor, inside: Tensor) -> Tensor:
    """Regresses the logarithm of each landmark's deviation along one axis: [F+1 K]."""
    tables = torch.zeros(table.shape[1], left.shape[1], dtype=torch.float64)
    pull = ridge_pull(table.shape[1], _RIDGE_DEVIATION)
    for number in range(left.shape[1]):
        chosen = inside[:, number]
        size = (left[chosen, number].square().sum(-1) / 2 + _FLOOR**2).log() / 2
        if len(size) < _FEWEST:
            tables[-1, number] = torch.tensor(0.05).log()
            continue
        rows, mean = table[chosen], size.mean()
        tables[:, number] = torch.linalg.solve(rows.T @ rows + pull, rows.T @ (size - mean))
        tables[-1, number] += mean + torch.tensor(_SPREAD).log()
    return tables


def seen_people(people: Iterable[ClothedPerson], watch: Watch) -> Iterator[SeenPerson]:
    """Detects on pictures of known people; those in whom nobody is found are passed over.

    Args:
        people: rendered.
        watch: [H W 3] uint8 to what is detected and the person's mask [H W], or None.
    """
    for person in people:
        seen = watch(person.image)
        if seen is not None:
            yield SeenPerson(*seen, person.mesh, person.camera)


def mean_errors(
    correction: LandmarkCorrection,
    body: Body,
    landmarks: LandmarkMap,
    people: Iterable[SeenPerson],
) -> Tensor:
    """Returns mean distances [2 K] (mm) of landmarks from their places, before and after.

    Args:
        correction: to be judged.
        body: the model that the people are made of.
        landmarks: where the landmarks belong on it.
        people: others than those it was fitted to.
    """
    distances: list[Tensor] = []
    for person in people:
        detection = consistent(person.detection)
        if "pose" not in detection.keypoints:
            continue
        moved = correction(detection, SilhouetteTarget(person.alpha))
        px, depth = person.camera.project(landmarks.points(body, "pose", person.mesh))
        both = torch.stack([detection.keypoints["pose"], moved.keypoints["pose"]])[..., :2]
        error = 1e3 * (both - px).norm(dim=-1) * depth / person.camera.K[0, 0]
        error[:, ~_inside(px, person.camera)] = torch.nan
        distances.append(error[:, CORRECTED])
    return torch.stack(distances).nanmean(0)


def summarize(
    correction: LandmarkCorrection,
    body: Body,
    landmarks: LandmarkMap,
    people: Iterable[SeenPerson],
) -> str:
    """Returns `mean_errors` as a table, left and right averaged."""
    errors = mean_errors(correction, body, landmarks, people)
    errors = 0.5 * (errors + errors[:, partners()])
    lines = ["landmark       before   after  (mm)"]
    for column, index in enumerate(CORRECTED):
        side, name = POSE_NAMES[index].split("_", 1)
        if side == "left":
            before, after = errors[:, column].tolist()
            lines.append(f"{name:12s} {before:8.1f} {after:7.1f}")
    return "\n".join(lines)


def _inside(px: Tensor, camera: Camera) -> Tensor:
    size = px.new_tensor([camera.width, camera.height])
    return ((px >= 0) & (px <= size)).all(-1)
