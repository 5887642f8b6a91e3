"""Fusion: one `Estimate` from the estimators that the gate chose for the parts of a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import InputError
from presence.estimation.anchors import resolve_anchor
from presence.estimation.fov import with_fov
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Estimate,
    PartEstimate,
    PartModel,
    focal_from_fov,
)
from presence.tracking.fusing.chains import HEAD, WRISTS, chained, with_head, with_joint
from presence.tracking.fusing.conversion import space_of
from presence.tracking.fusing.gate import Choice
from presence.tracking.fusing.regimes import Framing
from presence.tracking.relaxed import relaxed_pose

JAW, EYES = 22, [23, 24]
RELAXED = "relaxed pose"
"""The source of parts that nothing was chosen for."""
MADE_BY: dict[str, tuple[str, ...]] = {
    "body": ("upper", "lower"),
    "head": ("head",),
    "face": ("face",),
    "left_hand": ("left_hand",),
    "right_hand": ("right_hand",),
}
"""The parts of an `Estimate` that each choice of the gate decides."""
Place = Callable[[BodyParams, Camera], Tensor]
"""Where a body [3] should stand, from its parameters in camera axes and the camera."""


def canonical(estimate: Estimate, fov: float) -> Estimate:
    """Brings an estimate's camera to the canonical one, and notes it.

    The field of view changes as the paper's Eq. 18 says; the principal point comes to the
    picture's middle, as the refinement wants it. Both leave the depth plane as it is seen. Part
    models come along: theirs may be a crop's camera beside a picture's that is canonical already.

    Args:
        estimate: unbatched.
        fov: degrees across the longer side of the picture, as trackers take it.
    """
    camera = estimate.camera
    focal = focal_from_fov(fov, max(camera.width, camera.height))
    ratio = focal / float(camera.K[0, 0])
    across, before = (
        2 * math.degrees(math.atan(camera.width / 2 / f)) for f in (focal, float(camera.K[0, 0]))
    )
    middle = torch.tensor([camera.width / 2, camera.height / 2])
    away = float((camera.K[:2, 2] - middle).norm())
    if _is_canonical(camera.K, focal, middle):
        return _canonical_models(estimate, across, middle)
    note = (
        f"{estimate.estimator}: field of view {before:.1f} to {across:.1f} degrees (Eq. 18), "
        f"depth times {ratio:.3f}, principal point moved by {away:.0f} px"
    )
    fixed = with_fov(estimate, across)
    K, translation = _centred(fixed.camera.K, fixed.body.translation, middle)
    return _canonical_models(estimate, across, middle).replace(
        camera=fixed.camera.replace(K=K),
        body=fixed.body.replace(translation=translation),
        notes=(*estimate.notes, note),
    )


def _canonical_models(estimate: Estimate, across: float, middle: Tensor) -> Estimate:
    """Returns an estimate with its part models alone before the canonical camera."""
    focal, models = focal_from_fov(across, estimate.camera.width), {}
    if all(_is_canonical(model.K, focal, middle) for model in estimate.models.values()):
        return estimate
    for part, model in with_fov(estimate, across).models.items():
        K, shift = _centred(model.K, model.translation, middle)
        models[part] = model.replace(K=K, translation=shift)
    return estimate.replace(models=models)


def _is_canonical(K: Tensor, focal: float, middle: Tensor) -> bool:
    """Returns whether an estimate or a part model is before that camera already."""
    return abs(focal / float(K[0, 0]) - 1) < 1e-4 and float((K[:2, 2] - middle).norm()) < 1e-2


def _centred(K: Tensor, translation: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the principal point [2] to the middle, and what is seen at the depth back."""
    shift = (K[:2, 2] - middle) * translation[2] / K[[0, 1], [0, 1]]
    moved = K.clone()
    moved[:2, 2] = middle
    return moved, translation + torch.cat([shift, shift.new_zeros(1)])


def fuse(
    choices: tuple[Choice, ...],
    estimates: Mapping[str, Estimate],
    body: Body,
    *,
    framing: Framing = "full",
    own: Estimate | None = None,
    place: Place | None = None,
    betas: Tensor | None = None,
) -> Estimate:
    """Fuses what was chosen into one estimate for a body.

    The body's choice gives trunk, limbs, translation and camera. The head's rotation and the
    wrists' are absolute in the camera in part models, and come to the chain as it then is.
    Unseen hands and legs are relaxed, unless the estimate says that it holds them itself.

    Args:
        choices: one for each of `presence.tracking.fusing.gate.CHOSEN`.
        estimates: by name, in their canonical camera (`canonical`).
        body: the body to fuse for.
        framing: what was seen: a head alone keeps its place, and the trunk follows it; legs that
            were not seen are not taken.
        own: an estimate in the body's own coefficients, for those of other models do not fit it.
        place: finds the translation of a whole body in another model's pose, whose own
            translation is for that model's shape.
        betas: [S] the person's shape where it is known, of `body`.

    Raises:
        InputError: nothing places the person.
    """
    chosen: dict[str, Choice] = {choice.part: choice for choice in choices}
    base, notes = _base(chosen["body"], chosen["head"], estimates)
    params = _shaped(base, body, own, betas)
    start = params
    legs = "lower" in base.held or (framing == "full" and base.parts["lower"].valid)
    pose = params.pose if legs else _relaxed(params.pose, PART_JOINTS["lower"])
    pose = _head(pose, chosen["head"], base, estimates, framing)
    for side in WRISTS:
        pose = _hand(pose, side, chosen[side], base, estimates)
    params = _face(params.replace(pose=pose), chosen["face"], base, estimates, body)
    if framing == "head":
        params = params.replace(translation=params.translation + _moved(body, start, params))
    elif place is not None and (_foreign(base, body) or betas is not None):
        params = params.replace(translation=place(params, base.camera))
        notes.append(f"the body is placed by its landmarks, in the pose of {base.estimator}")
    used = dict.fromkeys(c.estimator for c in choices if c.estimator)
    noted = [note for name in used for note in estimates[name].notes]
    keypoints: dict[str, Tensor] = {}
    for estimate in estimates.values():
        keypoints |= estimate.keypoints
    return Estimate(
        body=params,
        camera=base.camera,
        parts=_parts(choices, estimates, legs),
        models=chosen_models(choices, {name: e.models for name, e in estimates.items()}),
        keypoints=keypoints,
        expression_space=space_of(body) if body.num_expression else "",
        estimator="fused",
        notes=(*dict.fromkeys(noted), *notes),
    )


def _base(
    choice: Choice, head: Choice, estimates: Mapping[str, Estimate]
) -> tuple[Estimate, list[str]]:
    """Returns the estimate that everything is hung on."""
    if choice.estimator:
        return estimates[choice.estimator], []
    return _default(head, estimates), ["nothing places the trunk: it stands upright"]


def _foreign(estimate: Estimate, body: Body) -> bool:
    """Returns whether an estimate's coefficients are those of another body model."""
    return estimate.expression_space != space_of(body)


def _shaped(base: Estimate, body: Body, own: Estimate | None, betas: Tensor | None) -> BodyParams:
    """Returns the parameters for a body, in its own shape where the estimate's does not fit."""
    params = base.body
    if _foreign(base, body):
        shape = own.body if own is not None else body.default_params()
        params = params.replace(betas=shape.betas, expression=shape.expression)
    if betas is not None:
        params = params.replace(betas=betas)
    return resolve_anchor(base.replace(body=params), body)


def _default(head: Choice, estimates: Mapping[str, Estimate]) -> Estimate:
    """A relaxed person whose head joint is where a head's own model stands."""
    found = estimates.get(head.estimator)
    model = None if found is None else found.models.get("face")
    if found is None or model is None:
        raise InputError("no estimator can place the person")
    pose = relaxed_pose()
    pose[0] = torch.tensor([math.pi, 0.0, 0.0])  # upright before a camera
    params = BodyParams(torch.zeros(0), torch.zeros(0), pose, model.translation)
    held = tuple(PART_JOINTS)
    return Estimate(params, found.camera, anchor=HEAD, estimator="default pose", held=held)


def _head(
    pose: Tensor,
    choice: Choice,
    base: Estimate,
    estimates: Mapping[str, Estimate],
    framing: Framing,
) -> Tensor:
    if choice.estimator in ("", base.estimator):
        return pose
    estimate = estimates[choice.estimator]
    model = estimate.models.get("face")
    rotation = chained(estimate.body.pose, HEAD) if model is None else model.rotation
    return with_head(pose, rotation, trunk_follows=framing == "head")


def _hand(
    pose: Tensor, side: str, choice: Choice, base: Estimate, estimates: Mapping[str, Estimate]
) -> Tensor:
    fingers, wrist = list(PART_JOINTS[side]), WRISTS[side]
    if not choice.estimator:
        return pose if side in base.held else _relaxed(pose, (wrist, *fingers))
    if choice.estimator == base.estimator:
        return pose
    estimate = estimates[choice.estimator]
    model = estimate.models.get(side)
    rotation = chained(estimate.body.pose, wrist) if model is None else model.rotation
    pose = with_joint(pose, wrist, rotation)
    pose[fingers] = estimate.body.pose[fingers]
    return pose


def _face(
    params: BodyParams,
    choice: Choice,
    base: Estimate,
    estimates: Mapping[str, Estimate],
    body: Body,
) -> BodyParams:
    if choice.estimator in ("", base.estimator):
        return params
    estimate = estimates[choice.estimator]
    pose = params.pose.clone()
    pose[JAW] = estimate.body.pose[JAW]
    if estimate.body.pose[EYES].any():
        pose[EYES] = estimate.body.pose[EYES]
    if _foreign(estimate, body):
        return params.replace(pose=pose)
    expression = resolve_anchor(estimate.replace(anchor=None), body).expression
    return params.replace(pose=pose, expression=expression)


def _moved(body: Body, before: BodyParams, after: BodyParams) -> Tensor:
    """Returns by how much the head joint has to go back [3]."""
    with torch.no_grad():
        return body(before).joints[HEAD] - body(after).joints[HEAD]


def _relaxed(pose: Tensor, joints: tuple[int, ...]) -> Tensor:
    changed = pose.clone()
    changed[list(joints)] = relaxed_pose().to(pose)[list(joints)]
    return changed


def _parts(
    choices: tuple[Choice, ...], estimates: Mapping[str, Estimate], legs: bool
) -> dict[str, PartEstimate]:
    parts = {}
    for choice in choices:
        for part in MADE_BY[choice.part]:
            if not choice.estimator:
                parts[part] = PartEstimate(0.0, False, RELAXED, choice.reason)
                continue
            if part == "lower" and not legs:
                why = f"{choice.reason}; legs not seen are relaxed"
                parts[part] = PartEstimate(0.0, False, RELAXED, why)
                continue
            found = estimates[choice.estimator].parts.get(part)
            # EMICA says of the face what holds for the head.
            found = found or estimates[choice.estimator].parts["face"]
            reason = f"{choice.reason}; {found.reason}"
            parts[part] = PartEstimate(found.confidence, found.valid, found.source, reason)
    return parts


def chosen_models(
    choices: tuple[Choice, ...], models: Mapping[str, Mapping[str, PartModel]]
) -> dict[str, PartModel]:
    """Returns the part models of what was chosen, for the dense stages of the refinement.

    Args:
        choices: of the gate.
        models: estimator to part to its model. Where pixels are wanted, those from before
            `canonical`: Eq. 18 leaves one depth plane as it is seen, and moves what lies off it.
    """
    chosen: dict[str, str] = {choice.part: choice.estimator for choice in choices}
    parts = (("face", "head"), ("left_hand", "left_hand"), ("right_hand", "right_hand"))
    return {
        part: models[chosen[choice]][part]
        for part, choice in parts
        if part in models.get(chosen[choice], {})
    }
