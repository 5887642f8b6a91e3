"""Derives a `FaceCorrection` from face meshes found on people whose bodies are known."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import InputError
from presence.tracking.correction_fitting import SeenPerson
from presence.tracking.face_correction import FaceCorrection, FaceFrame, describe_mesh, mirrored
from presence.tracking.face_regions import INNER_LIPS, IRISES, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from presence.tracking.landmarks import LandmarkMap
from presence.tracking.regression import robust_ridge

# Chosen on 294 other people: with 25 components landmarks end 1.49% of the face's box off, with 40
# 1.44%, with 90 1.34% (2.53% uncorrected); pulls of 20 to 200 make no difference.
_COMPONENTS, _RIDGE = 40, 60.0
_ROBUST = 0.1  # root mean square residual, in sizes of the face (Geman-McClure)
_FEWEST = 8
_SEEN = 0.5  # share of the face that must be in the picture
# Left where they are found: a mesh model reads them off the picture itself, and of photographs,
# which it was trained on, better than of renders.
_READ = [*OUTER_LIPS, *INNER_LIPS, *RIGHT_EYE, *LEFT_EYE, *IRISES]
_MIRRORED = 5e-3  # m, how near the partner of a mirrored landmark lies


def fit_faces(body: Body, landmarks: LandmarkMap, people: Iterable[SeenPerson]) -> FaceCorrection:
    """Fits what the face's landmarks are off by.

    Args:
        body: the model that the people are made of.
        landmarks: where the landmarks belong on it.
        people: some hundreds, detected as without a correction; those without a face mesh are
            passed over.

    Raises:
        InputError: fewer than eight have a face mesh.
    """
    pairs = [pair for person in people if (pair := _observe(body, landmarks, person)) is not None]
    if len(pairs) < _FEWEST:
        raise InputError(f"a correction needs faces of at least {_FEWEST} people, not {len(pairs)}")
    partner = mirror_partners(body, landmarks)
    meshes, moves = (torch.stack(values).double() for values in zip(*pairs))
    meshes = torch.cat([meshes, mirrored(meshes, partner)])
    moves = torch.cat([moves, mirrored(moves, partner)])
    mean = meshes.mean(0)
    directions = torch.linalg.svd((meshes - mean).flatten(1), full_matrices=False).Vh
    components = directions[: min(_COMPONENTS, len(pairs) // 2)].unflatten(1, mean.shape)
    scale = ((meshes - mean).flatten(1) @ components.flatten(1).T).std(0)
    rows = describe_mesh(meshes, mean, components, scale)
    goal = moves.flatten(1)
    shift = robust_ridge(rows, goal, _RIDGE, _ROBUST * goal.shape[1] ** 0.5)
    shift = shift.unflatten(1, mean.shape)
    shift[:, _READ] = 0.0
    return FaceCorrection(
        mean.float(),
        components.float(),
        scale.float(),
        1e3 * shift.float(),
        partner,
    )


def face_errors(
    correction: FaceCorrection,
    body: Body,
    landmarks: LandmarkMap,
    people: Iterable[SeenPerson],
) -> Tensor:
    """Returns mean distances [N 2] of landmarks from their places, before and after.

    In % of the longer side of the true landmarks' box, over those in the picture.

    Args:
        correction: to be judged.
        body: the model that the people are made of.
        landmarks: where the landmarks belong on it.
        people: others than those it was fitted to; those without a face mesh are left out.
    """
    errors = []
    for person in people:
        if "face" not in person.detection.keypoints:
            continue
        true, _ = person.camera.project(landmarks.points(body, "face", person.mesh))
        inside = person.camera.contains(true)
        box = (true.amax(0) - true.amin(0)).max()
        both = (person.detection, correction(person.detection))
        gaps = torch.stack([d.keypoints["face"][:, :2] - true for d in both]).norm(dim=-1)
        errors.append(100 * gaps[:, inside].mean(1) / box)
    return torch.stack(errors)


def mirror_partners(body: Body, landmarks: LandmarkMap) -> Tensor:
    """Returns the mirror partner [478] of each landmark on a body's mean face.

    Raises:
        ValueError: the landmarks do not lie alike on both sides.
    """
    points = landmarks.points(body, "face", body(body.default_params()))
    distances = torch.cdist(points * points.new_tensor([-1.0, 1.0, 1.0]), points)
    nearest, partner = distances.min(1)
    if float(nearest.max()) > _MIRRORED or not torch.equal(
        partner[partner], torch.arange(len(points))
    ):
        raise ValueError("the face's landmarks do not lie alike on both sides of this body")
    return partner


def _observe(
    body: Body, landmarks: LandmarkMap, person: SeenPerson
) -> tuple[Tensor, Tensor] | None:
    """Returns a mesh and what it is off by, [478 2] each, in its own frame."""
    if "face" not in person.detection.keypoints:
        return None
    true, _ = person.camera.project(landmarks.points(body, "face", person.mesh))
    if float(person.camera.contains(true).float().mean()) < _SEEN:
        return None
    found = person.detection.keypoints["face"][:, :2]
    frame = FaceFrame.of(found)
    return frame.inside(found - frame.origin), frame.inside(true - found)
