"""`LandmarkCorrection`: where clothed people's joints are, given where a detector puts them."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.errors import AssetError
from presence.tracking.detection import POSE_NAMES, Detection
from presence.tracking.person_frame import PARTNER, PersonFrame, describe
from presence.tracking.silhouette import SilhouetteTarget

CORRECTED = [
    index
    for index, name in enumerate(POSE_NAMES)
    if name.endswith("_ear") or index >= POSE_NAMES.index("left_shoulder")
]
"""The pose landmarks that are corrected: not the face's, which its own mesh tells better."""
CLIP = 4.0  # standard deviations from the mean within which a description is believed
_FARTHEST, _FARTHEST_METRIC = 0.08, 0.2  # m, limits of what a landmark is moved by
_ACROSS, _DEEP = (-1.0, 1.0), (-1.0, 1.0, 1.0)  # mirrored axes


@dataclasses.dataclass(frozen=True)
class LandmarkCorrection:
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
    """

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
        moved = _limited(_symmetric(rows, self.shift / 1e3, _ACROSS), _FARTHEST)
        pose[CORRECTED, :2] += moved * frame.px_per_metre
        metric[CORRECTED] += _limited(
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

    def save(self, path: str | Path) -> None:
        """Writes the map as a compressed `.npz` of half-precision arrays."""
        arrays = {f.name: getattr(self, f.name).numpy() for f in dataclasses.fields(self)}
        np.savez_compressed(path, **{k: v.astype(np.float16) for k, v in arrays.items()})

    @classmethod
    def load(cls, source: str | Path) -> LandmarkCorrection:
        """Reads the correction of a bundled body (by its name) or a file.

        Raises:
            AssetError: there is no such file, or it is no correction.
        """
        path = _path(source)
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{n: torch.from_numpy(file[n]).float() for n in file.files})
        except (OSError, TypeError, ValueError) as error:
            raise AssetError(f"{path.name} is no landmark correction ({error})") from error

    @classmethod
    def bundled(cls, body_name: str) -> LandmarkCorrection | None:
        """Returns the correction that comes with a body, or None where there is none.

        Example:
            >>> LandmarkCorrection.bundled("nobody") is None
            True
        """
        return cls.load(body_name) if _path(body_name).is_file() else None


def standardized(described: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Returns descriptions [... F] in standard deviations, with a one behind: [... F+1]."""
    known = torch.where(described.isnan(), mean, described)
    rows = ((known - mean) / scale).clamp(-CLIP, CLIP)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], -1)


def partners() -> list[int]:
    """Returns the mirror partner of each of the landmarks `CORRECTED`, as their row."""
    return [CORRECTED.index(PARTNER[index]) for index in CORRECTED]


def _symmetric(rows: Tensor, table: Tensor, flip: tuple[float, ...]) -> Tensor:
    """Averages what the person [0] and the mirrored one [1] of rows [2 F+1] say: [K D]."""
    said = torch.einsum("nf,fkd->nkd", rows, table)
    return 0.5 * (said[0] + said[1][partners()] * torch.tensor(flip))


def _limited(moves: Tensor, farthest: float) -> Tensor:
    length = moves.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return moves * (length.clamp(max=farthest) / length)


def _path(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix == ".npz":
        return path
    return Path(str(importlib.resources.files("presence.data") / f"{source}_clothed.npz"))
