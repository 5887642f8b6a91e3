"""EMICA: FLAME shape, expression, jaw and head pose of a face whose landmarks are known."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.errors import InputError
from presence.estimation.checkpoints import read_released
from presence.estimation.faces import arcface_from_px, deca_square, to_68
from presence.estimation.networks.emica import Emica, EmicaOutput, load_emica
from presence.estimation.weak_perspective import picture_camera, translation_of
from presence.estimation.windows import crop_from_px, share_inside, warped
from presence.geometry import axis_angle_to_matrix
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import (
    BodyParams,
    Camera,
    Cues,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
)

CROP, ALIGNED = 224, 112  # px
JAW = 22  # joint of SMPL-X
ENOUGH = 0.5  # share of the face's landmarks in the picture below which nothing is believed
# FLAME stands upright, y upwards and facing +z; the camera has y down and looks along +z.
CAM_FROM_FLAME = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@ESTIMATORS.register()
class EmicaEstimator(Estimator):
    """EMICA on the crops of DECA and ArcFace around the face that the cues name.

    It gives FLAME 2020's own parameters, and of SMPL-X the jaw and the expression. How the head
    is turned in the body's chain is for the fusion to say, which knows the neck.

    Args:
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"` (always the
            same random values, for tests and profiling).
        fov: degrees across the picture's longer side where the cues have no intrinsics.
        device: where the network runs.
    """

    name = "emica"
    asset = "emica"
    parts = ("face",)
    needs = ("face",)

    def __init__(
        self, *, weights: str = "official", fov: float = 20.0, device: str = "cpu"
    ) -> None:
        self.fov, self.device = fov, torch.device(device)
        self.network = _load(weights).to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates the face whose landmarks the cues have.

        Raises:
            InputError: the cues have no face.
        """
        face = cues.keypoints.get("face")
        if face is None or len(face) < 468:
            raise InputError("emica needs the cue `face`: MediaPipe's 478 landmarks")
        points = to_68(face.float().cpu())
        square, aligned = crops_of(portrait.rgb.float().cpu(), points[:, :2])
        with torch.no_grad():
            output = self.network(square[None].to(self.device), aligned[None].to(self.device))
        height, width = portrait.size
        camera = picture_camera(width, height, K=cues.K, fov=self.fov)
        inside = share_inside(points[:, :2], width, height)
        reason = f"{inside:.0%} of the face's landmarks are in the picture"
        sure = float(points[:, 2].clamp(0, 1).mean()) * inside
        part = PartEstimate(sure, inside >= ENOUGH, "emica", reason)
        return (estimate_of(output, square_box(points[:, :2]), camera, part),)


def crops_of(image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts out what the network sees.

    Args:
        image: [3 H W] in 0..1.
        points: [68 2] px.

    Returns:
        (DECA's crop [3 224 224] in 0..1, ArcFace's [3 112 112] in -1..1, black outside).
    """
    square = warped(image, crop_from_px(square_box(points), CROP, CROP), CROP, CROP)
    aligned = warped(image, arcface_from_px(points), ALIGNED, ALIGNED)
    return square, aligned * 2 - 1


def square_box(points: Tensor) -> Tensor:
    """Returns DECA's square as left, top, right, bottom [4] px, from 68 landmarks [68 2]."""
    x, y, side = deca_square(points).unbind()
    return torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def estimate_of(output: EmicaOutput, box: Tensor, camera: Camera, part: PartEstimate) -> Estimate:
    """Brings the network's numbers into the picture's camera.

    Args:
        output: of one face.
        box: [4] DECA's square, px.
        camera: of the picture.
        part: how far the face may be used.
    """
    output = EmicaOutput(**{name: value[0].cpu() for name, value in vars(output).items()})
    scale, right, up = output.camera.unbind()
    place = torch.stack([scale.clamp_min(1e-3), right, -up])  # FLAME's y is upwards
    pose = torch.zeros(55, 3)
    pose[JAW] = output.jaw
    joints = torch.eye(3).repeat(4, 1, 1)  # neck, jaw, eyes
    joints[1] = axis_angle_to_matrix(output.jaw)
    flame = PartModel(
        rotation=CAM_FROM_FLAME @ axis_angle_to_matrix(output.head),
        translation=translation_of(place, box, camera.K),
        K=camera.K,
        shape=output.shape,
        expression=output.expression,
        joints=joints,
        model="flame2020",
        root="flipped",
    )
    return Estimate(
        body=BodyParams(torch.zeros(0), output.expression, pose, torch.zeros(3)),
        camera=camera,
        parts={"face": part},
        models={"face": flame},
        expression_space="flame2020",
        estimator="emica",
        notes=("neck and eyes are FLAME's rest; the head's rotation is in models['face']",),
    )


def _load(weights: str) -> Emica:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Emica().eval()
    path = find_weights(weights, EmicaEstimator.asset)
    return load_emica(read_released(path), path.name)
