"""`describe`: what was seen of a person, as numbers that do not depend on place or size."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.tracking.detection import POSE, POSE_NAMES, Detection
from presence.tracking.silhouette import SilhouetteTarget

_HEAD = list(range(11))
SHOULDERS = [POSE["left_shoulder"], POSE["right_shoulder"]]
_HIPS = [POSE["left_hip"], POSE["right_hip"]]
# Joints about which the mask and the picture's rim are looked at, left and right in turn.
_JOINTS = [
    POSE[f"{s}_{n}"] for n in ("shoulder", "elbow", "wrist", "hip") for s in ("left", "right")
]
_JOINT_SWAP = [1, 0, 3, 2, 5, 4, 7, 6]
_SIDE, _REACH = 5, 0.12  # points along a patch of the mask's distances, and its half width (m)
_FARTHEST, _RIM = 0.1, 0.2  # m at which distances to the mask and to the picture's rim are cut off
# Face mesh: nose, forehead, chin, cheeks, eyes, mouth, jaw; and each point's mirror partner.
_FACE = [1, 10, 152, 234, 454, 33, 263, 133, 362, 61, 291, 168, 199, 127, 356, 132, 361]
_FACE_SWAP = [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 11, 12, 14, 13, 16, 15]
_HAND = [0, 2, 5, 9, 17, 12]  # wrist, thumb, knuckles, middle fingertip
PARTNER = [
    POSE_NAMES.index(
        name.replace("left", "right") if "left" in name else name.replace("right", "left")
    )
    for name in POSE_NAMES
]
"""Mirror partner of each pose landmark."""


@dataclasses.dataclass(frozen=True)
class PersonFrame:
    """Where a person is in a picture: origin between the shoulders, in metres across.

    Attributes:
        origin: [2] px.
        px_per_metre: at the person's depth, as the detector's metric landmarks have it.
    """

    origin: Tensor
    px_per_metre: float

    @classmethod
    def of(cls, detection: Detection) -> PersonFrame:
        """Compares landmarks of head, shoulders and visible hips with their metric ones."""
        points, metric = detection.keypoints["pose"], detection.world["pose"]
        share = torch.zeros(len(points))
        share[_HEAD + SHOULDERS] = 1.0
        share[_HIPS] = points[_HIPS, 2] * detection.inside(points[_HIPS], 0.02)
        share = share / share.sum()

        def extent(at: Tensor) -> Tensor:
            middle = share @ at
            return (share @ (at - middle).square()).sum().sqrt()

        scale = extent(points[:, :2]) / extent(metric[:, :2]).clamp_min(1e-3)
        return cls(points[SHOULDERS, :2].mean(0), float(scale))

    def metres(self, px: Tensor) -> Tensor:
        """Returns picture points [... 2] in this frame."""
        return (px - self.origin) / self.px_per_metre


def describe(detection: Detection, mask: SilhouetteTarget) -> Tensor:
    """Describes a person by landmarks, confidences and the mask about the joints.

    Args:
        detection: with the pose and its metric landmarks; face and hands as found.
        mask: the person's, of the picture's shape.

    Returns:
        [2 F]: the person, and the same person mirrored. What was not found is NaN.
    """
    parts = _parts(detection, mask)
    return torch.stack([_flat(parts), _flat(_mirrored(parts))])


def _flat(parts: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.float().reshape(-1) for part in parts.values()])


def _parts(detection: Detection, mask: SilhouetteTarget) -> dict[str, Tensor]:
    frame, points = PersonFrame.of(detection), detection.keypoints["pose"]
    metric = detection.world["pose"]
    flat = frame.metres(points[:, :2])
    face = torch.full((len(_FACE), 2), torch.nan)
    if "face" in detection.keypoints:
        face = frame.metres(detection.keypoints["face"][_FACE, :2])
    hands, found = torch.full((2, len(_HAND), 2), torch.nan), torch.zeros(2)
    for row, side in enumerate(("left", "right")):
        hand = detection.keypoints.get(f"{side}_hand")
        if hand is not None:
            hands[row] = frame.metres(hand[_HAND, :2]) - flat[POSE[f"{side}_wrist"]]
            found[row] = hand[:, 2].mean()
    return {
        "flat": flat,
        "metric": metric - metric[SHOULDERS].mean(0),
        "confidence": points[:, 2],
        "inside": detection.inside(points, 0.02),
        "rim": _rim(detection, points[_JOINTS], frame.px_per_metre),
        "face": face,
        "face_found": torch.tensor([float("face" in detection.keypoints)]),
        "hands": hands,
        "hands_found": found,
        "mask": _patches(mask, points[_JOINTS, :2], frame.px_per_metre),
    }


def _rim(detection: Detection, points: Tensor, px_per_metre: float) -> Tensor:
    """Metres [8 4] from joints to the picture's left, right, upper and lower rim."""
    x, y = points[:, 0], points[:, 1]
    gaps = torch.stack([x, detection.width - x, y, detection.height - y], -1)
    return (gaps / px_per_metre).clamp(-_RIM, _RIM)


def _patches(mask: SilhouetteTarget, points: Tensor, px_per_metre: float) -> Tensor:
    """Metres [8 S S] to the mask's outline at a patch about each joint, positive outside."""
    steps = torch.linspace(-_REACH, _REACH, _SIDE) * px_per_metre
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    at = points[:, None, None] + torch.stack([x, y], -1)  # [8 S S 2]
    distance, _, _ = mask.distance(at.reshape(-1, 2).double())
    return (distance / px_per_metre).clamp(-_FARTHEST, _FARTHEST).reshape(-1, _SIDE, _SIDE)


def _mirrored(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    across, deep = torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0, 1.0])
    return {
        "flat": parts["flat"][PARTNER] * across,
        "metric": parts["metric"][PARTNER] * deep,
        "confidence": parts["confidence"][PARTNER],
        "inside": parts["inside"][PARTNER],
        "rim": parts["rim"][_JOINT_SWAP][:, [1, 0, 2, 3]],
        "face": parts["face"][_FACE_SWAP] * across,
        "face_found": parts["face_found"],
        "hands": parts["hands"].flip(0) * across,
        "hands_found": parts["hands_found"].flip(0),
        "mask": parts["mask"][_JOINT_SWAP].flip(-1),
    }
