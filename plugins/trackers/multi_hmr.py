"""Multi-HMR: SMPL-X parameters of everybody in the picture, made for whole bodies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.estimation.checkpoints import read_released
from presence.estimation.networks.multi_hmr import (
    FOV,
    MultiHmr,
    MultiHmrOutput,
    load_multi_hmr,
)
from presence.estimation.weak_perspective import picture_camera
from presence.geometry import matrix_to_axis_angle
from presence.interfaces import Estimator
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Camera, Cues, Estimate, PartEstimate, Portrait

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
HEAD, JAW = 15, 22  # SMPL-X joints
SURE = 0.5  # mean confidence of a hand's keypoints from which the hand counts as seen


@ESTIMATORS.register()
class MultiHmrEstimator(Estimator):
    """Multi-HMR on the whole picture, padded to a square.

    People are placed by their head joint (`Estimate.anchor`). The network makes up hands that it
    does not see, mostly at the picture's lower edge, so hands are valid only where the cues have
    sure keypoints of them.

    Args:
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"` (the same
            random values of a small network, for tests and profiling).
        device: where the network runs.
        threshold: of a detection's score.
        kernel: patches within which only the surest detection counts.
        depth: blocks of the backbone, for tests; None for all.
    """

    name = "multi_hmr"
    asset = "multi_hmr"
    parts = ("upper", "lower", "head", "face", "left_hand", "right_hand")

    def __init__(
        self,
        *,
        weights: str = "official",
        device: str = "cpu",
        threshold: float = 0.3,
        kernel: int = 3,
        depth: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.threshold, self.kernel = threshold, kernel
        self.network = _load(weights, depth).to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Estimates everybody whose head is found."""
        height, width = portrait.size
        known = None if cues.K is None else cues.K.cpu()
        camera = picture_camera(width, height, K=known, fov=FOV)
        side = self.network.side
        square, square_from_picture = padded(portrait.rgb.float().cpu(), side)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        inputs = ((square - mean) / std)[None]
        with torch.no_grad():
            output = self.network(
                inputs.to(self.device),
                (square_from_picture @ camera.K)[None].to(self.device),
                threshold=self.threshold,
                kernel=self.kernel,
            )
        output = MultiHmrOutput(**{name: value.cpu() for name, value in vars(output).items()})
        order = output.scores.argsort(descending=True, stable=True)
        return tuple(person_of(output, int(number), camera, cues) for number in order)


def padded(image: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Fits a picture [3 H W] into a square, black around it in the middle.

    Returns:
        the square [3 side side], and the transform [3 3] to its pixels from the picture's.
    """
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    rows, columns = round(height * scale), round(width * scale)
    small = F.interpolate(image[None], (rows, columns), mode="bicubic", antialias=True)[0]
    top, left = round((side - rows) / 2), round((side - columns) / 2)
    square = F.pad(small.clamp(0, 1), (left, side - columns - left, top, side - rows - top))
    matrix = torch.tensor([[columns / width, 0, left], [0, rows / height, top], [0, 0, 1.0]])
    return square, matrix


def person_of(output: MultiHmrOutput, number: int, camera: Camera, cues: Cues) -> Estimate:
    """Returns one person of the network's output.

    Args:
        output: of one picture, on the CPU.
        number: which person.
        camera: of the picture.
        cues: hands' keypoints tell whether hands were seen.
    """
    score = float(output.scores[number])
    joints = matrix_to_axis_angle(output.rotations[number])  # [53 3]
    pose = torch.zeros(55, 3)
    pose[:JAW], pose[25:], pose[JAW] = joints[:22], joints[22:52], joints[52]
    found = PartEstimate(score, True, "multi_hmr", f"detection score {score:.2f}")
    parts = dict.fromkeys(("upper", "lower", "head", "face"), found)
    for side in ("left_hand", "right_hand"):
        parts[side] = _hand(score, cues.keypoints.get(side))
    return Estimate(
        body=BodyParams(output.betas[number], output.expression[number], pose, output.head[number]),
        camera=camera,
        anchor=HEAD,
        parts=parts,
        expression_space="smplx",
        estimator="multi_hmr",
    )


def _hand(score: float, points: Tensor | None) -> PartEstimate:
    if points is None:
        return PartEstimate(0.0, False, "multi_hmr", "no keypoints show the hand")
    seen = float(points[:, 2].mean().clamp(0, 1))
    reason = f"hand keypoints {seen:.2f}, detection score {score:.2f}"
    return PartEstimate(min(score, seen), seen >= SURE, "multi_hmr", reason)


def _load(weights: str, depth: int | None) -> MultiHmr:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return MultiHmr(384, 224, depth=depth).eval()
    path = find_weights(weights, MultiHmrEstimator.asset)
    return load_multi_hmr(read_released(path, entry="model_state_dict"), path.name, depth=depth)
