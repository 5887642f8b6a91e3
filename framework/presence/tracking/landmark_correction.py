"""`LandmarkCorrection`: where clothed people's joints are, given where a detector puts them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from presence.tracking.detection import POSE_NAMES, Detection
from presence.tracking.linear_correction import LinearCorrection, limited, standardized
from presence.tracking.person_frame import PARTNER, PersonFrame, describe
from presence.tracking.silhouette import SilhouetteTarget

CORRECTED = [
    index
    for index, name in enumerate(POSE_NAMES)
    if name.endswith("_ear") or index >= POSE_NAMES.index("left_shoulder")
]
"""The pose landmarks that are corrected: not the face's, which its own mesh tells better."""
_FARTHEST, _FARTHEST_METRIC = 0.08, 0.2  # m, limits of what a landmark is moved by
_ACROSS, _DEEP = (-1.0, 1.0), (-1.0, 1.0, 1.0)  # mirrored axes


@dataclasses.dataclass(frozen=True)
class LandmarkCorrection(LinearCorrection):
    """A linear map from `describe`'s numbers to what the pose landmarks are off by.

    It was fitted to rendered clothed people (`correction_fitting.py`); the person and the mirrored
    person are averaged, so that left and right are treated alike.

    Attributes:
        mean: [F] of the descriptions.
        scale: [F] their standard deviations.
        shift: [F+1 K 2] mm in the picture, of the K landmarks `CORRECTED`; the last row is added
            to all.
        metric_shift: [F+1 K 3] mm, of the metric landmarks.
        log_deviation: [F+1 K] logarithm of the deviation that remains, m, along one axis.

    Example:
        >>> LandmarkCorrection.bundled("nobody") is None
        True
    """

    kind: ClassVar[str] = "landmark"
    suffix: ClassVar[str] = "clothed"

    mean: Tensor
    scale: Tensor
    shift: Tensor
    metric_shift: Tensor
    log_deviation: Tensor

    def __call__(self, detection: Detection, mask: SilhouetteTarget) -> Detection:
        """Moves the pose landmarks, and says how far they may still be off.

        Args:
            detection: of one person; one without a pose comes back as it is.
            mask: the person's, of the picture's shape.
        """
        if "pose" not in detection.keypoints or "pose" not in detection.world:
            return detection
        rows = standardized(describe(detection, mask), self.mean, self.scale)
        pose, metric = detection.keypoints["pose"].clone(), detection.world["pose"].clone()
        frame = PersonFrame.of(detection)
        moved = limited(_symmetric(rows, self.shift / 1e3, _ACROSS), _FARTHEST)
        pose[CORRECTED, :2] += moved * frame.px_per_metre
        metric[CORRECTED] += limited(
            _symmetric(rows, self.metric_shift / 1e3, _DEEP), _FARTHEST_METRIC
        )
        deviation = torch.full((len(pose),), torch.nan)
        deviation[CORRECTED] = _symmetric(rows, self.log_deviation[..., None], (1.0,))[:, 0].exp()
        return dataclasses.replace(
            detection,
            keypoints={**detection.keypoints, "pose": pose},
            world={**detection.world, "pose": metric},
            deviations={**detection.deviations, "pose": deviation},
        )


def partners() -> list[int]:
    """Returns the mirror partner of each of the landmarks `CORRECTED`, as their row."""
    return [CORRECTED.index(PARTNER[index]) for index in CORRECTED]


def _symmetric(rows: Tensor, table: Tensor, flip: tuple[float, ...]) -> Tensor:
    """Averages what the person [0] and the mirrored one [1] of rows [2 F+1] say: [K D]."""
    said = torch.einsum("nf,fkd->nkd", rows, table)
    return 0.5 * (said[0] + said[1][partners()] * torch.tensor(flip))
