"""GAGAvatar's FLAME tracking: the user's head model laid onto the landmarks of a face."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies.flame import load_flame, load_marks
from presence.errors import InputError
from presence.estimation.faces import LANDMARKS_68
from presence.estimation.flame_fit import (
    FOCAL,
    SIDE,
    STEPS,
    FlameState,
    fit_flame,
    jaw_of,
    rest_state,
)
from presence.estimation.weak_perspective import picture_camera
from presence.estimation.windows import box_of, crop_from_px, share_inside
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Cues, Estimate, PartEstimate, PartModel, Portrait

JAW, EYES = 22, [23, 24]  # joints of SMPL-X
CROP_SCALE = 1.65  # of the crop's side over sqrt(width * height) of the face's box
AGREES = 8.96  # px of 512: a mean distance from which GAGAvatar does not believe the landmarks
ENOUGH = 0.5  # share of the face's landmarks in the picture below which nothing is believed
INNER = LANDMARKS_68[17:]  # brows, eyes, nose and mouth: not the outline, which moves with the view
LEFT_IRIS, RIGHT_IRIS = 473, 468


@ESTIMATORS.register()
class FlameEstimator(Estimator):
    """FLAME fitted to MediaPipe's face landmarks in GAGAvatar's crop and camera.

    Shape, expression and jaw are those of EMICA where the cues bring them (`Cues.models`), and
    only the eyes and the head's place are fitted, as GAGAvatar does. Otherwise they are fitted
    too. GAGAvatar's second landmark source (VGGHead) is not used.

    Args:
        weights: the FLAME file: `"official"`, an entry of configs/assets.yaml, or a path.
        embedding: where the landmarks lie on FLAME: the same.
        fov: degrees across the picture's longer side where the cues have no intrinsics.
        steps: of the optimiser.
        device: not used: the fit runs on the CPU.
    """

    name = "flame"
    asset = "flame"
    parts = ("face",)
    needs = ("face",)

    def __init__(
        self,
        *,
        weights: str = "official",
        embedding: str = "official",
        fov: float = 20.0,
        steps: int = STEPS,
        device: str = "cpu",
    ) -> None:
        self.fov, self.steps = fov, steps
        self.flame = load_flame(find_weights(weights, self.asset))
        where = find_weights(embedding, "flame_landmarks")
        self.marks = load_marks(where, self.flame, INNER)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Fits the face whose landmarks the cues have.

        Raises:
            InputError: the cues have no face.
        """
        face = cues.keypoints.get("face")
        if face is None or len(face) < 478:
            raise InputError("flame needs the cue `face`: MediaPipe's 478 landmarks")
        face = face.float().cpu()
        height, width = portrait.size
        box = crop_box(face[:, :2])
        crop = crop_from_px(box, SIDE, SIDE)
        target = face[self.marks.detected, :2] @ crop[:2, :2].T + crop[:2, 2]
        irises = face[[LEFT_IRIS, RIGHT_IRIS], :2] @ crop[:2, :2].T + crop[:2, 2]
        given = cues.models.get("face")
        start = None if given is None else started(given)
        state = fit_flame(self.flame, self.marks, target, irises, start, steps=self.steps)
        inside = share_inside(face[:, :2], width, height)
        return (self._estimate(state, box, portrait, cues, inside, float(face[:, 2].mean())),)

    def _estimate(
        self,
        state: FlameState,
        box: Tensor,
        portrait: Portrait,
        cues: Cues,
        inside: float,
        sure: float,
    ) -> Estimate:
        height, width = portrait.size
        pose = torch.zeros(55, 3)
        pose[JAW], pose[EYES] = state.jaw, state.eyes
        reason = (
            f"{inside:.0%} of the face's landmarks are in the picture, "
            f"{state.error:.1f} of {AGREES} px from the fitted head"
        )
        valid = inside >= ENOUGH and state.error < AGREES
        part = PartEstimate(min(max(sure * inside, 0.0), 1.0), valid, "flame", reason)
        body = BodyParams(torch.zeros(0), state.expression, pose, torch.zeros(3))
        return Estimate(
            body,
            picture_camera(width, height, K=cues.K, fov=self.fov),
            parts={"face": part},
            models={"face": model_of(state, box)},
            expression_space="flame2020",
            estimator=self.name,
            notes=("the head's rotation is in models['face']; the neck is FLAME's rest",),
        )


def crop_box(points: Tensor) -> Tensor:
    """Returns GAGAvatar's square [4] px about a face's landmarks [K 2] px."""
    low, high = box_of(points).split(2)
    centre, half = (low + high) / 2, (high - low).prod().sqrt() * (CROP_SCALE / 2)
    return torch.cat([centre - half, centre + half])


def model_of(state: FlameState, box: Tensor) -> PartModel:
    """Returns a fitted head in the whole picture: the crop's camera in the picture's pixels.

    Args:
        state: before the crop's camera.
        box: [4] the crop, px of the picture.
    """
    focal = FOCAL * (box[2] - box[0]) / SIDE
    K = torch.eye(3)
    K[0, 0] = K[1, 1] = focal
    K[:2, 2] = (box[:2] + box[2:]) / 2
    return PartModel(
        rotation=state.rotation,
        translation=state.translation,
        K=K,
        shape=state.shape,
        expression=state.expression,
        joints=state.joints()[1:],
        model="flame2020",
        root="turned",
    )


def started(model: PartModel) -> FlameState:
    """Returns the start that another estimator's head gives: shape, expression and jaw."""
    rest = rest_state()
    return FlameState(
        shape=model.shape.float().cpu(),
        expression=model.expression.float().cpu(),
        jaw=jaw_of(model.joints.float().cpu()),
        eyes=rest.eyes,
        rotation=rest.rotation,
        translation=rest.translation,
    )
