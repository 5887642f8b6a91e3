"""PIXIE: SMPL-X parameters from crops of body, head and hands, for comparison."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from presence.errors import InputError
from presence.estimation.checkpoints import read_released
from presence.estimation.faces import to_68
from presence.estimation.networks.pixie import Part, Pixie, PixieOutput, load_pixie
from presence.estimation.networks.pixie_pose import smplx_pose
from presence.estimation.weak_perspective import picture_camera, translation_of
from presence.estimation.windows import (
    box_of,
    box_share_inside,
    clipped,
    crop_from_px,
    warped,
)
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Camera, Cues, Estimate, PartEstimate, Portrait

CROP = 224  # px
# Side of the square crop over the larger side of the box of the person or of the part's landmarks.
SCALES = {"body": 1.1, "head": 2.0, "left_hand": 2.4, "right_hand": 2.4}
CUES = {"head": "face", "left_hand": "left_hand", "right_hand": "right_hand"}
SEEN = 0.5  # mean confidence of a part's landmarks from which its crop is used
ENOUGH = 0.5  # share of a box in the picture below which nothing is believed


@ESTIMATORS.register()
class PixieEstimator(Estimator):
    """PIXIE on the crops around the person, the face and the hands that the cues name.

    Parts whose landmarks the cues lack are estimated from the body's crop, and marked so. The
    confidence of head, face and hands is the moderators' weight of their own crop.

    Args:
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"` (always the
            same random values, for tests and profiling).
        fov: degrees across the picture's longer side where the cues have no intrinsics.
        device: where the network runs.

    Raises:
        ConfigError: timm, which holds the body's trunk, is not installed.
    """

    name = "pixie"
    asset = "pixie"
    parts = ("upper", "lower", "head", "face", "left_hand", "right_hand")
    needs = ("person",)

    def __init__(
        self, *, weights: str = "official", fov: float = 20.0, device: str = "cpu"
    ) -> None:
        self.fov, self.device = fov, torch.device(device)
        self.network = _load(weights).to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates the person in the cues' box.

        Raises:
            InputError: the cues have no box, or one outside the picture.
        """
        if cues.person is None:
            raise InputError("pixie needs the cue `person`: a box")
        boxes = crop_boxes(cues, *reversed(portrait.size))
        crops = {
            name: crop_of(portrait.rgb.float().cpu(), box, name) for name, box in boxes.items()
        }
        with torch.no_grad():
            output = self.network(**{n: crop[None].to(self.device) for n, crop in crops.items()})
        height, width = portrait.size
        camera = picture_camera(width, height, K=cues.K, fov=self.fov)
        return (estimate_of(output, boxes, camera),)


def crop_boxes(cues: Cues, width: int, height: int) -> dict[str, Tensor]:
    """Returns the square [4] px of the body and of each part whose landmarks are believed.

    Raises:
        InputError: nothing of the person's box is in the picture.
    """
    assert cues.person is not None
    person = clipped(cues.person.float().cpu(), width, height)
    if (person[2:] - person[:2]).amin() < 1:
        raise InputError(f"the person's box {cues.person.tolist()} is not in the picture")
    boxes = {"body": _square(person, "body")}
    for part, name in CUES.items():
        points = cues.keypoints.get(name)
        if points is None or float(points[:, 2].mean()) < SEEN:
            continue
        points = points.float().cpu()[:, :2]
        boxes[part] = _square(box_of(to_68(points) if part == "head" else points), part)
    return boxes


def crop_of(image: Tensor, box: Tensor, name: str) -> Tensor:
    """Returns a crop [3 224 224] of a picture [3 H W]; a left hand's is mirrored."""
    crop = warped(image, crop_from_px(box, CROP, CROP), CROP, CROP)
    return crop.flip(-1) if name == "left_hand" else crop


def estimate_of(output: PixieOutput, boxes: dict[str, Tensor], camera: Camera) -> Estimate:
    """Brings the network's numbers into the picture's camera.

    Args:
        output: of one person.
        boxes: of the body and of each part that had its own crop, px.
        camera: of the picture.
    """
    output = PixieOutput(**{name: value[:1].cpu() for name, value in vars(output).items()})
    place = torch.cat([output.camera[0, :1].clamp_min(1e-3), output.camera[0, 1:]])
    return Estimate(
        body=BodyParams(
            output.shape[0],
            output.expression[0],
            smplx_pose(output)[0],
            translation_of(place, boxes["body"], camera.K),
        ),
        camera=camera,
        parts=_parts(output, boxes, camera),
        expression_space="flame2020",
        estimator="pixie",
        notes=("betas and expression are those of the 2020 release of SMPL-X",),
    )


def _parts(
    output: PixieOutput, boxes: dict[str, Tensor], camera: Camera
) -> dict[str, PartEstimate]:
    share = box_share_inside(boxes["body"], camera.width, camera.height)
    reason = f"{share:.0%} of the body's crop is in the picture"
    body = PartEstimate(share, share >= ENOUGH, "pixie/body", reason)
    parts = {"upper": body, "lower": body}
    weights: dict[Part, Tensor] = {
        "head": output.head_weight,
        "left_hand": output.left_weight,
        "right_hand": output.right_weight,
    }
    for part, weight in weights.items():
        if part not in boxes:
            parts[part] = PartEstimate(0.0, False, "pixie/body", f"no landmarks of the {part}")
            continue
        own = float(weight[0, 1])
        reason = f"the moderator gives its own crop a weight of {own:.2f}"
        parts[part] = PartEstimate(own, True, f"pixie/{part}", reason)
    return {**parts, "face": parts["head"]}


def _square(box: Tensor, name: str) -> Tensor:
    centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).amax() * SCALES[name]
    return torch.cat([centre - side / 2, centre + side / 2])


def _load(weights: str) -> Pixie:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Pixie().eval()
    path = Path(find_weights(weights, PixieEstimator.asset))
    return load_pixie(read_released(path), path.name)
