"""The contract of estimators: what is estimated, how sure it is, and in which camera it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from presence.errors import InputError
from presence.interfaces import Estimator
from presence.structures import PART_JOINTS, Cues, Estimate, Portrait
from presence.testing.contracts.common import (
    ContractError,
    require,
    require_equal,
    require_finite,
)


def check_estimator(estimator: Estimator, portrait: Portrait, cues: Cues) -> None:
    """Checks an estimator on one picture, in which it should find somebody.

    Args:
        estimator: to check.
        portrait: unbatched.
        cues: all that it needs.

    Raises:
        ContractError: what is broken.
    """
    require(estimator.name, estimator, "it has a name")
    unknown = set(estimator.parts) - set(PART_JOINTS)
    require(not unknown, estimator, f"parts are of {tuple(PART_JOINTS)}, got {sorted(unknown)}")
    before = portrait.map(Tensor.clone)
    estimates = estimator(portrait, cues)
    require_equal(before, portrait, estimator, "the portrait stays as it was")
    require(isinstance(estimates, tuple), estimator, "a call should give a tuple of Estimates")
    require(estimates, estimator, "somebody should be found")
    for estimate in estimates:
        _check_estimate(estimator, estimate, portrait)
    for first, again in zip(estimates, estimator(portrait, cues), strict=True):
        require_equal(first, again, estimator, "a second call should give the same")
    _check_cues(estimator, portrait, cues)


def _check_estimate(estimator: Estimator, estimate: Estimate, portrait: Portrait) -> None:
    require(isinstance(estimate, Estimate), estimator, "a call should give a tuple of Estimates")
    require(estimate.batch_shape == (), estimator, "an estimate is of one person, unbatched")
    require(estimate.estimator == estimator.name, estimator, "estimates carry its name")
    require_finite(estimate, estimator)
    _check_camera(estimator, estimate, portrait)
    _check_parts(estimator, estimate)
    for part, model in estimate.models.items():
        require(part in estimate.parts, estimator, f"models has `{part}`, which parts lacks")
        require_finite(model, estimator)
        _check_rotations(estimator, model.rotation, f"models[{part!r}].rotation")
        _check_rotations(estimator, model.joints, f"models[{part!r}].joints")
    _check_keypoints(estimator, estimate.keypoints)
    spaced = bool(estimate.expression_space) == bool(estimate.body.expression.shape[-1])
    require(spaced, estimator, "expression_space is given where there is an expression, only")


def _check_camera(estimator: Estimator, estimate: Estimate, portrait: Portrait) -> None:
    camera = estimate.camera
    size = (camera.height, camera.width)
    require(size == portrait.size, estimator, f"the camera is for {size}, not {portrait.size}")
    identity = torch.equal(camera.cam_from_world, torch.eye(4).to(camera.cam_from_world))
    require(identity, estimator, "the world is the camera: cam_from_world is the identity")
    focal = camera.K[..., [0, 1], [0, 1]]
    require((focal > 0).all(), estimator, "focal lengths should be positive")
    if estimate.parts and not estimate.models:
        require(estimate.body.translation[2] > 0, estimator, "the person is before the camera")
    for part, model in estimate.models.items():
        require(model.translation[2] > 0, estimator, f"the {part} is before the camera")


def _check_parts(estimator: Estimator, estimate: Estimate) -> None:
    extra = set(estimate.parts) - set(estimator.parts)
    require(not extra, estimator, f"it declares {estimator.parts}, but estimates {sorted(extra)}")
    for part, quality in estimate.parts.items():
        sure = 0 <= quality.confidence <= 1
        require(sure, estimator, f"confidence of `{part}` should be in 0..1")
        said = quality.source and quality.reason
        require(said, estimator, f"`{part}` should say its source and reason")
    for part, joints in PART_JOINTS.items():
        if part not in estimate.parts:
            rest = not estimate.body.pose[list(joints)].any()
            require(rest, estimator, f"`{part}` is not estimated, so its pose should be zero")


def _check_rotations(estimator: Estimator, rotations: Tensor, name: str) -> None:
    identity = torch.eye(3).to(rotations)
    error = (rotations @ rotations.mT - identity).abs().amax() if rotations.numel() else 0.0
    proper = bool((torch.linalg.det(rotations) > 0).all()) if rotations.numel() else True
    require(float(error) < 1e-4 and proper, estimator, f"{name} should be rotations")


def _check_keypoints(estimator: Estimator, keypoints: Mapping[str, Tensor]) -> None:
    for name, points in keypoints.items():
        fits = points.ndim == 2 and points.shape[-1] == 3 and points.isfinite().all()
        require(fits, estimator, f"keypoints[{name!r}] should be finite [K 3]")
        sure = ((points[:, 2] >= 0) & (points[:, 2] <= 1)).all()
        require(sure, estimator, f"confidences of keypoints[{name!r}] should be in 0..1")


def _check_cues(estimator: Estimator, portrait: Portrait, cues: Cues) -> None:
    for need in estimator.needs:
        names = need.split("|")
        kept = {k: v for k, v in cues.keypoints.items() if k not in names}
        person = None if "person" in names else cues.person
        try:
            estimator(portrait, dataclasses.replace(cues, person=person, keypoints=kept))
        except InputError as error:
            said = any(name in str(error) for name in names)
            require(said, estimator, f"the error of a missing cue names it: {need}")
        else:
            raise ContractError(f"{type(estimator).__name__}: without {need} raises InputError")
