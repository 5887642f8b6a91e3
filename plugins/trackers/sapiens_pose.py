"""Sapiens' 308 keypoints of the person in a box: body, feet, hands and a dense face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from presence.estimation.checkpoints import read_released
from presence.estimation.heatmap_peaks import refined_peaks
from presence.estimation.networks.sapiens_pose import (
    CELLS,
    HEIGHT,
    SIZES,
    WIDTH,
    SapiensPose,
    load_sapiens_pose,
)
from presence.estimation.weak_perspective import picture_camera
from presence.estimation.windows import warped, widened
from presence.interfaces import Estimator
from presence.models.pretrained import check_choice
from presence.models.weight_files import find_weights
from presence.registry import ESTIMATORS
from presence.structures import BodyParams, Cues, Estimate, Portrait

# The released scripts normalise by these, of 255 (the training configs by 123.675 and so on).
MEAN, STD = (123.5, 116.5, 103.5), (58.5, 57.0, 57.5)
MARGIN = 1.25  # of the crop over the person's box
FOV = 20.0  # degrees, of a camera that nobody told; keypoints do not depend on it
# First cell of each hand (from the tips: thumb, index, middle, ring, little) and its wrist.
HANDS = {"right_hand": (21, 41), "left_hand": (42, 62)}


@ESTIMATORS.register()
class SapiensPoseEstimator(Estimator):
    """Sapiens' pose network on the crop around the person, or on the whole picture.

    Gives the 308 points as `sapiens308`, and the hands' 21 as `left_hand` and `right_hand` in the
    order that HaMeR and MediaPipe use. No body parameters.

    Args:
        size: model size; 1b is the one with an entry in configs/assets.yaml.
        weights: `"official"`, an entry of configs/assets.yaml, a path, or `"random"`.
        device: where the network runs.
        depth: blocks of the backbone, for tests; None for all.
    """

    name = "sapiens_pose"
    asset = "sapiens_1b_pose"

    def __init__(
        self,
        *,
        size: Literal["0.3b", "0.6b", "1b", "2b"] = "1b",
        weights: str = "official",
        device: str = "cpu",
        depth: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = _load(check_choice("size", size, SIZES), weights, depth).to(self.device)

    def __call__(self, portrait: Portrait, cues: Cues) -> tuple[Estimate, ...]:
        """Finds the points of the person in the cues' box, or in the whole picture."""
        return (self.together([portrait], [cues])[0],)

    def together(self, portraits: Sequence[Portrait], cues: Sequence[Cues]) -> list[Estimate]:
        """Finds the points of the people [B] in one run of the network, such as in frames.

        Args:
            portraits: [B], of any sizes.
            cues: [B] of the same.
        """
        boxes = [_box(*pair) for pair in zip(portraits, cues, strict=True)]
        crops = [
            warped(portrait.rgb.float().cpu(), crop_from_picture(box), WIDTH, HEIGHT)
            for portrait, box in zip(portraits, boxes, strict=True)
        ]
        mean, std = (torch.tensor(values).view(3, 1, 1) / 255 for values in (MEAN, STD))
        pictures = (torch.stack(crops) - mean) / std  # [B 3 1024 768]
        with torch.no_grad():
            heatmaps = self.network(pictures.to(self.device))
        return [
            self._estimate(portrait, cue, points_of(maps, box))
            for portrait, cue, maps, box in zip(portraits, cues, heatmaps, boxes, strict=True)
        ]

    def _estimate(self, portrait: Portrait, cues: Cues, points: Tensor) -> Estimate:
        height, width = portrait.size
        K = None if cues.K is None else cues.K.cpu()
        return Estimate(
            BodyParams(torch.zeros(0), torch.zeros(0), torch.zeros(55, 3), torch.zeros(3)),
            picture_camera(width, height, K=K, fov=FOV),
            keypoints=dict(sapiens308=points, **hands_of(points)),
            estimator=self.name,
        )


def _box(portrait: Portrait, cues: Cues) -> Tensor:
    """Returns the crop [4], 3:4, px of the picture."""
    height, width = portrait.size
    whole = torch.tensor([0.0, 0.0, width, height])
    box = whole if cues.person is None else cues.person.float().cpu()
    return widened(box, WIDTH / HEIGHT, 1.0 if cues.person is None else MARGIN)


def crop_from_picture(box: Tensor) -> Tensor:
    """Returns the transform [3 3] to crop pixels in which the box's edges are pixel centres.

    The middle of the first and of the last pixel lie on the edges of the box (UDP's rule), so
    that crop and heat map cover the same of it.

    Args:
        box: [4] px of the picture, 3:4.
    """
    size = box.new_tensor([WIDTH, HEIGHT])
    scale = (size - 1) / (box[2:] - box[:2])
    matrix = torch.diag(torch.cat([scale, scale.new_ones(1)]))
    matrix[:2, 2] = size / 2 - scale * (box[:2] + box[2:]) / 2
    return matrix


def points_of(heatmaps: Tensor, box: Tensor) -> Tensor:
    """Returns [308 3] of pixel x, pixel y and the heat map's largest value cut to 0..1.

    Args:
        heatmaps: [308 256 192], on any device.
        box: [4] the crop, px of the picture; the points lie on its device.
    """
    cells, largest = refined_peaks(heatmaps)
    cells, largest = cells.to(box), largest.to(box)
    share = cells / cells.new_tensor([CELLS[1] - 1, CELLS[0] - 1])
    xy = box[:2] + share * (box[2:] - box[:2])
    return torch.cat([xy, largest.clamp(0, 1)[:, None]], -1)


def hands_of(points: Tensor) -> dict[str, Tensor]:
    """Returns each hand's 21 points: wrist, then thumb to little finger, from base to tip.

    Args:
        points: [308 3].
    """
    hands = {}
    for side, (first, wrist) in HANDS.items():
        fingers = points[first : first + 20].unflatten(0, (5, 4)).flip(1).flatten(0, 1)
        hands[side] = torch.cat([points[wrist : wrist + 1], fingers])
    return hands


def _load(size: str, weights: str, depth: int | None) -> SapiensPose:
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SapiensPose(size, depth=depth).eval()
    path = find_weights(weights, SapiensPoseEstimator.asset)
    return load_sapiens_pose(read_released(path), path.name, size=size, depth=depth)
