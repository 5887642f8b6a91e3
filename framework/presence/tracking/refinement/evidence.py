"""`FrameEvidence`: what was seen in T frames, as tensors of one size whatever was found in each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct, static, tensor
from presence.tracking.detection import LANDMARK_SETS, SET_SIZES, Detection
from presence.tracking.evidence import bone_weights, joint_strength, keypoint_weights, visible_parts
from presence.tracking.fusing.gate import is_upper_body
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.objective import metric_bones
from presence.tracking.silhouette import SilhouetteTarget

ROWS: dict[str, slice] = {}
"""Rows of each landmark set among all K landmarks."""
for _name in LANDMARK_SETS:
    _start = max((rows.stop for rows in ROWS.values()), default=0)
    ROWS[_name] = slice(_start, _start + SET_SIZES[_name])
_STACKED = (
    "target",
    "weights",
    "bones",
    "bone_weights",
    "strength",
    "contour",
    "outlined",
    "taken",
)
_CONTOUR = 160  # points of a mask's outline
NUM_LANDMARKS = max(rows.stop for rows in ROWS.values())


@dataclasses.dataclass(frozen=True, eq=False)
class FrameEvidence(TensorStruct):
    """Landmarks, bone directions and masks of T frames.

    Attributes:
        target: [T K 2] detected landmarks, px; all sets in order, see `ROWS`.
        weights: [T K], 0 where a landmark is not to be used.
        bones: [T M 3] unit directions in the fit's axes, of the pairs in `pairs`.
        bone_weights: [T M].
        signed: [T h w] distance to the mask, px of the picture, positive outside it.
        masked: [T] 1 where there is a mask.
        contour: [T C 2] points of the mask's outline, px, evenly chosen.
        outlined: [T C] 1 where there is such a point.
        strength: [T 55] how firmly joints are held, more where nothing was seen of them.
        upper: [T] 1 where only the upper body was seen, as the gate has it.
        taken: [T K] 1 where a landmark is Sapiens' and lies where that network means it; see
            `presence.tracking.sapiens_points`.
        pairs: [M 2] landmark rows of the bones' ends.
        width: px.
        height: px.
    """

    target: Tensor = tensor("K 2", unit="px")
    weights: Tensor = tensor("K")
    bones: Tensor = tensor("M 3")
    bone_weights: Tensor = tensor("M")
    signed: Tensor = tensor("h w", unit="px")
    masked: Tensor = tensor("")
    contour: Tensor = tensor("C 2", unit="px")
    outlined: Tensor = tensor("C")
    strength: Tensor = tensor("55")
    upper: Tensor = tensor("")
    taken: Tensor = tensor("K")
    pairs: Tensor = static(default=torch.zeros(0, 2, dtype=torch.long))
    width: int = static(default=0)
    height: int = static(default=0)


def gather(
    detections: Sequence[Detection | None],
    masks: Sequence[np.ndarray | None],
    width: int,
    height: int,
    regimes: RegimeMap | None = None,
) -> FrameEvidence:
    """Collects what was detected; a frame without a detection has weights of zero.

    Args:
        detections: [T] of pictures of one size.
        masks: [T] alpha [H W] in 0..1, all of one size.
        width: px.
        height: px.
        regimes: whose thresholds tell an upper body; None for the map that ships.
    """
    regimes = regimes or RegimeMap.load()
    rows = [
        _row(detection or Detection(width, height, {}), mask, regimes)
        for detection, mask in zip(detections, masks, strict=True)
    ]
    sides = next((row["signed"].shape for row in rows if row["signed"] is not None), (2, 2))
    signed = [torch.zeros(sides) if row["signed"] is None else row["signed"] for row in rows]
    return FrameEvidence(
        **{name: torch.stack([row[name] for row in rows]).float() for name in _STACKED},
        signed=torch.stack(signed).float(),
        masked=torch.tensor([float(row["signed"] is not None) for row in rows]),
        upper=torch.tensor([row["upper"] for row in rows]),
        pairs=torch.tensor(_all_pairs()),
        width=width,
        height=height,
    )


def _row(detection: Detection, mask: np.ndarray | None, regimes: RegimeMap) -> dict:
    target, weights = torch.zeros(NUM_LANDMARKS, 2), torch.zeros(NUM_LANDMARKS)
    found = keypoint_weights(detection)
    for name, points in detection.keypoints.items():
        target[ROWS[name]], weights[ROWS[name]] = points[:, :2], found[name].float()
    taken = torch.zeros(NUM_LANDMARKS)
    for name, rows in detection.taken.items():
        taken[ROWS[name]] = rows.float()
    bones, sure = [], []
    metric = {name: (pairs, world) for name, pairs, world in metric_bones(detection)}
    for name, pairs in _BONES.items():
        ends = torch.tensor(pairs)
        if name not in metric:
            bones.append(torch.zeros(len(pairs), 3))
            sure.append(torch.zeros(len(pairs)))
            continue
        world = metric[name][1] * torch.tensor([1.0, -1.0, -1.0])
        bone = world[ends[:, 1]] - world[ends[:, 0]]
        bones.append(torch.nn.functional.normalize(bone, dim=-1))
        sure.append(bone_weights(detection, name, pairs, weights[ROWS[name]]))
    parts = visible_parts(detection)
    silhouette = None if mask is None else SilhouetteTarget(mask)
    contour, outlined = torch.zeros(_CONTOUR, 2), torch.zeros(_CONTOUR)
    if silhouette is not None and len(silhouette.contour):
        chosen = torch.linspace(0, len(silhouette.contour) - 1, _CONTOUR).long()
        contour, outlined = silhouette.contour[chosen].float(), torch.ones(_CONTOUR)
    return {
        "target": target,
        "weights": weights,
        "bones": torch.cat(bones),
        "bone_weights": torch.cat(sure),
        "signed": None if silhouette is None else silhouette.signed,
        "contour": contour,
        "outlined": outlined,
        "strength": joint_strength(detection, parts),
        "taken": taken,
        "upper": float(is_upper_body(detection, regimes)),
    }


def _every_bone() -> dict[str, tuple[tuple[int, int], ...]]:
    everything = Detection(
        1,
        1,
        {name: torch.zeros(size, 3) for name, size in SET_SIZES.items()},
        {name: torch.zeros(size, 3) for name, size in SET_SIZES.items() if name != "face"},
    )
    return {name: pairs for name, pairs, _ in metric_bones(everything)}


_BONES = _every_bone()


def _all_pairs() -> list[tuple[int, int]]:
    return [
        (ROWS[name].start + first, ROWS[name].start + second)
        for name, pairs in _BONES.items()
        for first, second in pairs
    ]
