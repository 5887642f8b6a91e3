"""What detectors see in one portrait: named landmark sets in pixels and, where known, in metres."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

POSE_NAMES = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
POSE = {name: index for index, name in enumerate(POSE_NAMES)}
# Set name to number of landmarks, in MediaPipe's order; left and right are the person's own.
SET_SIZES = {"pose": 33, "face": 478, "left_hand": 21, "right_hand": 21}
LANDMARK_SETS = tuple(SET_SIZES)
_FAR_BELOW = 1.2  # picture heights from its top


@dataclasses.dataclass(frozen=True)
class Detection:
    """Landmarks of one person in one picture.

    Attributes:
        width: picture width, px.
        height: picture height, px.
        keypoints: set name ("pose", "face", "left_hand", "right_hand") to [K 3] of pixel x,
            pixel y, confidence 0..1; a set that was not found is absent.
        world: set name to [K 3] metres in camera axes (+x right, +y down, +z away), relative to
            a centre of the set's own: directions are usable, positions are not.
        notes: one line a decision that a user should know of.
        deviations: set name to [K] metres that landmarks may be off along one axis, where it is
            known for this picture; NaN for landmarks of which it is not.
        taken: set name to [K] bool, the landmarks that are Sapiens' rather than MediaPipe's; see
            `presence.tracking.sapiens_points`. Empty where Sapiens did not look.
    """

    width: int
    height: int
    keypoints: dict[str, Tensor]
    world: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    deviations: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    taken: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the sets.

        Raises:
            ValueError: an unknown set, or one of a wrong shape.
        """
        for kind, sets in (("keypoints", self.keypoints), ("world", self.world)):
            for name, points in sets.items():
                if name not in SET_SIZES or tuple(points.shape) != (SET_SIZES[name], 3):
                    raise ValueError(
                        f"Detection.{kind}[{name!r}] should be one of {SET_SIZES} with 3 columns, "
                        f"got shape {tuple(points.shape)}"
                    )
        for name, rows in self.taken.items():
            if tuple(rows.shape) != (SET_SIZES.get(name),):
                raise ValueError(
                    f"Detection.taken[{name!r}] should be a row of one of {SET_SIZES}, "
                    f"got shape {tuple(rows.shape)}"
                )

    def point(self, name: str) -> Tensor:
        """Returns one pose landmark [3] (px, px, confidence); zeros where no pose was found."""
        if "pose" not in self.keypoints:
            return torch.zeros(3)
        return self.keypoints["pose"][POSE[name]]

    def confidence(self, *names: str) -> float:
        """Returns the smallest confidence among the named pose landmarks.

        A landmark outside the picture counts as unseen: its place is the detector's guess.
        """
        points = torch.stack([self.point(name) for name in names])
        return float((points[:, 2] * self.inside(points, 0.02)).min())

    def inside(self, points: Tensor, margin: float = 0.0) -> Tensor:
        """Tells which points [... 2+] (px) lie in the picture grown by `margin` of its size."""
        x, y = points[..., 0] / self.width, points[..., 1] / self.height
        return (x > -margin) & (x < 1 + margin) & (y > -margin) & (y < 1 + margin)


def hips_far_below(pose: Any, height: int) -> bool:
    """Tells of pose landmarks [33 2+] (px) whether a picture of that height shows but a head.

    Where hips lie that far out of it, the pose model does not know where arms are.
    """
    return float(pose[[POSE["left_hip"], POSE["right_hip"]], 1].mean()) > _FAR_BELOW * height
