"""HaMeR: the hands whose keypoints the cues name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from presence.errors import InputError
from presence.estimation.checkpoints import read_released
from presence.estimation.crop_cameras import picture_focal, picture_translation
from presence.estimation.networks.hamer import SIDE, Hamer, HamerOutput, load_hamer
from presence.estimation.networks.rotations import mirrored
from presence.estimation.windows import box_of, warped, widened
from presence.geometry import matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import (
    PART_JOINTS,
    BodyParams,
    Camera,
    Cues,
    Estimate,
    PartEstimate,
    PartModel,
    Portrait,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
SURE, ENOUGH = 0.5, 4  # confidence of a keypoint that counts, and how many a hand needs
MARGIN, ASPECT = 2.0, 192 / 256  # of the crop over the keypoints' box; of the box, before squaring
SIDES = ("right_hand", "left_hand")


@ESTIMATORS.register()
class HamerEstimator(Estimator):
    """HaMeR on crops around both hands; a left hand is seen mirrored.

    Finger rotations go to the body's pose, the wrist's orientation in the camera to `models`:
    joining it to an arm needs the arm. The network says nothing of its certainty, so confidence
    is the keypoints' mean.

    Args:
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"`.
        device: where the network runs.
        depth: blocks of the backbone, for tests; the released network has 32.
    """

    name = "hamer"
    asset = "hamer"
    parts = SIDES
    needs = ("left_hand|right_hand",)

    def __init__(self, *, weights: str = "official", device: str = "cpu", depth: int = 32) -> None:
        self.device = torch.device(device)
        self.network = _load(weights, depth).to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates the hands that have enough sure keypoints.

        Raises:
            InputError: the cues have the keypoints of no hand.
        """
        given = {side: cues.keypoints[side].cpu() for side in SIDES if side in cues.keypoints}
        if not given:
            raise InputError("hamer needs the cue `left_hand` or `right_hand`: 21 keypoints")
        parts, models = {}, {}
        pose = torch.zeros(55, 3)
        for side, points in given.items():
            parts[side] = _judged(points)
            if parts[side].valid:
                models[side] = self._hand(portrait, points, side)
                pose[list(PART_JOINTS[side])] = matrix_to_axis_angle(models[side].joints)
        if not models:
            return ()
        height, width = portrait.size
        body = BodyParams(torch.zeros(0), torch.zeros(0), pose, torch.zeros(3))
        camera = Camera(picture_camera_matrix(width, height), torch.eye(4), width, height)
        return (Estimate(body, camera, parts=parts, models=models, estimator=self.name),)

    def _hand(self, portrait: Portrait, points: Tensor, side: str) -> PartModel:
        height, width = portrait.size
        centre, extent = crop_square(points)
        mirror = side == "left_hand"
        matrix = crop_from_picture(centre, extent, width, mirror=mirror)
        picture = blurred(portrait.rgb.float().cpu(), float(extent))
        crop = warped(picture, matrix, SIDE, SIDE)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        with torch.no_grad():
            output = self.network(((crop - mean) / std)[None].to(self.device))
        return hand_of(output, centre, extent, (width, height), mirror=mirror)


def crop_square(points: Tensor) -> tuple[Tensor, Tensor]:
    """Returns centre [2] and side (px) of the square crop around a hand's sure keypoints [K 3]."""
    box = box_of(points[points[:, 2] > SURE, :2])
    box = widened(box, ASPECT, MARGIN)
    return (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).amax()


def crop_from_picture(centre: Tensor, side: Tensor, width: int, *, mirror: bool) -> Tensor:
    """Returns the transform [3 3] from pixels of the picture to those of the crop.

    The centre comes to the middle of pixel 128, half a pixel off the crop's middle, as in the
    released pipeline.

    Args:
        centre: [2] px.
        side: px.
        width: of the picture, px.
        mirror: whether the picture is mirrored first.
    """
    scale = SIDE / side
    x = width - centre[0] if mirror else centre[0]
    offset = SIDE / 2 + 0.5 - scale * torch.stack([x, centre[1]])
    matrix = torch.eye(3)
    matrix[0, 0] = matrix[1, 1] = scale
    matrix[:2, 2] = offset
    if not mirror:
        return matrix
    return matrix @ torch.tensor([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])


def blurred(image: Tensor, side: float) -> Tensor:
    """Blurs a picture [3 H W] against aliasing where the crop shrinks it (by more than 2.2)."""
    factor = side / SIDE / 2
    if factor <= 1.1:
        return image
    from scipy.ndimage import gaussian_filter

    sigma = (factor - 1) / 2
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, sigma, sigma), mode="nearest"))


def hand_of(
    output: HamerOutput, centre: Tensor, side: Tensor, size: tuple[int, int], *, mirror: bool
) -> PartModel:
    """Brings the network's numbers of one crop into the picture.

    Args:
        output: of a batch of one.
        centre: [2] of the crop, px of the unmirrored picture.
        side: of the crop, px.
        size: width and height of the picture, px.
        mirror: whether the crop was mirrored, as a left hand's is.
    """
    rotation, joints = output.orientation[0].cpu(), output.fingers[0].cpu()
    camera = output.camera[0].cpu()
    if mirror:
        rotation, joints = mirrored(rotation), mirrored(joints)
        camera = camera * camera.new_tensor([1.0, -1.0, 1.0])
    return PartModel(
        rotation,
        picture_translation(camera, centre, side, *size),
        picture_camera_matrix(*size),
        output.betas[0].cpu(),
        torch.zeros(0),
        joints,
        model="mano_left" if mirror else "mano_right",
    )


def picture_camera_matrix(width: int, height: int) -> Tensor:
    """Returns K [3 3] px of the camera in which hands are placed."""
    focal = picture_focal(width, height)
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def _judged(points: Tensor) -> PartEstimate:
    sure = points[points[:, 2] > SURE]
    confidence = float(points[:, 2].mean().clamp(0, 1))
    spread = len(sure) > 0 and float((sure[:, :2].amax(0) - sure[:, :2].amin(0)).amax()) >= 1
    valid = len(sure) >= ENOUGH and spread
    reason = f"{len(sure)} of {len(points)} keypoints are sure, {ENOUGH} are needed"
    return PartEstimate(confidence, valid, "hamer", reason)


def _load(weights: str, depth: int) -> Hamer:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Hamer(depth)
            network.mean_camera += network.mean_camera.new_tensor([0.9, 0.0, 0.0])
            return network.eval()
    path: Path = find_weights(weights, HamerEstimator.asset)
    return load_hamer(read_released(path), path.name, depth=depth)
