"""OSX: SMPL-X parameters of the person in a box, made for half bodies."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from presence.errors import AssetError, InputError
from presence.estimation.checkpoints import read_released
from presence.estimation.networks.osx import (
    IMAGE,
    Osx,
    OsxOutput,
    camera_translation,
    load_osx,
)
from presence.estimation.networks.osx_parts import GRID
from presence.estimation.networks.rotations import matrix_from_rows, mirrored
from presence.estimation.windows import (
    box_share_inside,
    clipped,
    crop_from_px,
    share_inside,
    warped,
    widened,
)
from presence.geometry import matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Camera, Cues, Estimate, PartEstimate, Portrait

FOCAL, VIRTUAL_WIDTH = 5000.0, 192  # px: the network's camera on its virtual 192 x 256 picture
MARGIN = 1.25  # of the crop over the person's box
ENOUGH = 0.5  # share of a part in the picture below which it is not believed
# Which of the 25 joints of the body's heat maps tell whether a part is in the picture. The order
# (pelvis, hips, knees, ankles, neck, shoulders, elbows, wrists, feet, ears, eyes, nose) is public.
SEEN_BY = {
    "upper": (0, *range(7, 14)),
    "lower": (*range(1, 7), *range(14, 20)),
    "head": (7, *range(20, 25)),
}
BOXES = {"left_hand": 0, "right_hand": 1, "face": 2}
MEANS = ("smplx_layer.left_hand_mean", "smplx_layer.right_hand_mean")


@ESTIMATORS.register()
class OsxEstimator(Estimator):
    """OSX on the crop around the person that the cues name.

    Which of its three variants a file holds is read from the file. Finger rotations of the network
    are relative to MANO's mean hand, which the released files carry; where a file lacks it, both
    hands are marked as not valid.

    Args:
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"` (always the
            same random values of the variant without decoders, for tests and profiling).
        device: where the network runs.
        depth: only the first blocks, for tests and profiling; None for all.
    """

    name = "osx"
    asset = "osx"
    parts = ("upper", "lower", "head", "face", "left_hand", "right_hand")
    needs = ("person",)

    def __init__(
        self, *, weights: str = "official", device: str = "cpu", depth: int | None = None
    ) -> None:
        self.device = torch.device(device)
        network, self.hand_mean = _load(weights, depth)
        self.network = network.to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates the person in the cues' box.

        Raises:
            InputError: the cues have no box, or one outside the picture.
        """
        if cues.person is None:
            raise InputError("osx needs the cue `person`: a box")
        height, width = portrait.size
        box = crop_box(cues.person.float().cpu(), width, height)
        crop = warped(
            portrait.rgb.float().cpu(), crop_from_px(box, IMAGE[1], IMAGE[0]), IMAGE[1], IMAGE[0]
        )
        with torch.no_grad():
            output = self.network(crop[None].to(self.device))
        return (estimate_of(output, box, (width, height), self.hand_mean),)


def crop_box(person: Tensor, width: int, height: int) -> Tensor:
    """Returns the crop [4] px of a person's box [4] px in a picture.

    The box is cut off at the picture, grown to 3:4, and by a quarter.

    Raises:
        InputError: nothing of the box is in the picture.
    """
    box = clipped(person, width, height)
    if (box[2:] - box[:2]).amin() < 1:
        raise InputError(f"the person's box {person.tolist()} is not in the picture")
    return widened(box, IMAGE[1] / IMAGE[0], MARGIN)


def crop_camera(box: Tensor, size: tuple[int, int]) -> Camera:
    """Returns the network's camera in the pixels of the whole picture, exactly.

    Its principal point is the middle of the crop.

    Args:
        box: [4] the crop, px of the picture.
        size: width and height of the picture, px.
    """
    focal = FOCAL * (box[2] - box[0]) / VIRTUAL_WIDTH
    x, y = (box[:2] + box[2:]) / 2
    K = torch.stack([focal, box.new_zeros(()), x, box.new_zeros(()), focal, y])
    K = torch.cat([K, K.new_tensor([0.0, 0.0, 1.0])]).view(3, 3)
    return Camera(K, torch.eye(4), *size)


def estimate_of(
    output: OsxOutput, box: Tensor, size: tuple[int, int], hand_mean: Tensor | None
) -> Estimate:
    """Brings the network's numbers into the picture.

    Args:
        output: of one person.
        box: [4] the crop, px of the picture.
        size: width and height of the picture, px.
        hand_mean: [2 15 3] MANO's mean pose of left and right, axis-angle; None if unknown.
    """
    output = OsxOutput(**{name: value[0].cpu() for name, value in vars(output).items()})
    px = (box[2:] - box[:2]) / output.joints.new_tensor([GRID[1], GRID[0]])  # of a cell
    joints = box[:2] + (output.joints[:, :2] + 0.5) * px
    scale = (box[2:] - box[:2]) / box.new_tensor([IMAGE[1], IMAGE[0]])
    boxes = output.boxes * scale.repeat(2) + box[:2].repeat(2)
    inside = ((joints >= 0) & (joints < joints.new_tensor(size))).all(-1, keepdim=True)
    return Estimate(
        body=BodyParams(
            output.shape,
            output.expression,
            pose_of(output, hand_mean),
            camera_translation(output.camera),
        ),
        camera=crop_camera(box, size),
        parts=_parts(joints, boxes, size, hand_mean is not None),
        keypoints={"osx25": torch.cat([joints, inside.float()], -1)},
        expression_space="smplx",
        estimator="osx",
        notes=("confidence is the share of a part's joints, or of its box, in the picture",),
    )


def pose_of(output: OsxOutput, hand_mean: Tensor | None) -> Tensor:
    """Returns axis-angle [55 3] of SMPL-X, hands absolute, from the output for one person."""
    mean = torch.zeros(2, 15, 3) if hand_mean is None else hand_mean
    left = matrix_to_axis_angle(mirrored(matrix_from_rows(output.left_hand))) + mean[0]
    right = matrix_to_axis_angle(matrix_from_rows(output.right_hand)) + mean[1]
    first = torch.cat([output.root[None], output.body, output.jaw[None]])
    eyes = torch.zeros(2, 3)
    return torch.cat([matrix_to_axis_angle(matrix_from_rows(first)), eyes, left, right])


def _parts(
    joints: Tensor, boxes: Tensor, size: tuple[int, int], has_mean: bool
) -> dict[str, PartEstimate]:
    parts = {}
    for part, indices in SEEN_BY.items():
        share = share_inside(joints[list(indices)], *size)
        reason = f"{share:.0%} of its joints are in the picture"
        parts[part] = PartEstimate(share, share >= ENOUGH, "osx", reason)
    for part, number in BOXES.items():
        share = box_share_inside(boxes[number], *size)
        reason, valid = f"{share:.0%} of its box is in the picture", share >= ENOUGH
        if "hand" in part and not has_mean:
            reason, valid = f"{MEANS[number]} is not in the file", False
        parts[part] = PartEstimate(share, valid, "osx", reason)
    return parts


def _load(weights: str, depth: int | None) -> tuple[Osx, Tensor | None]:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Osx("wo_decoder", depth=depth).eval(), torch.zeros(2, 15, 3)
    path = Path(find_weights(weights, OsxEstimator.asset))
    tensors = read_released(path, entry="network")
    return load_osx(tensors, path.name, depth=depth), hand_mean_of(tensors, path.name)


def hand_mean_of(tensors: dict[str, Tensor], source: str) -> Tensor | None:
    """Returns MANO's mean pose of both hands [2 15 3] from a released file, None if not there.

    Raises:
        AssetError: it is there in another shape.
    """
    found = [tensors.get(f"module.{name}") for name in MEANS]
    means = [mean for mean in found if mean is not None]
    if len(means) < 2:
        return None
    if any(mean.numel() != 45 for mean in means):
        raise AssetError(f"{source} has hand means of {[m.numel() for m in means]} numbers, not 45")
    return torch.stack([mean.float().reshape(15, 3) for mean in means])
