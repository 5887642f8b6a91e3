"""How much each landmark of a detection is trusted, and which parts of the person were seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from presence.tracking.detection import POSE, POSE_NAMES, Detection
from presence.tracking.face_regions import (
    FACE_OF_POSE,
    INNER_LIPS,
    IRISES,
    LEFT_EYE,
    OUTER_LIPS,
    OUTLINE,
    RIGHT_EYE,
)
from presence.tracking.relaxed import JOINT

# Standard deviations (m) of the pose model's landmarks on clothed people; of the trunk's and arms'
# joints as measured on 60 rendered half bodies.
_POSE_SIGMA = {
    "ear": 0.015,
    "shoulder": 0.018,
    "elbow": 0.024,
    "wrist": 0.017,
    "pinky": 0.02,
    "index": 0.02,
    "thumb": 0.02,
    "hip": 0.035,
    "knee": 0.02,
    "ankle": 0.015,
    "heel": 0.02,
    "foot_index": 0.02,
}
_KNUCKLES = ("pinky", "index", "thumb")
_FACE_SIGMA, _HAND_SIGMA = 0.002, 0.005
_FACE_SHARE, _HAND_SHARE = 0.3, 0.6  # neighbouring landmarks err together: each counts less

SEEN = 0.5  # confidence from which a part counts as seen
UNSURE = 0.4  # confidence below which nothing of an arm's part was seen
_ARM = ("elbow", "wrist", *_KNUCKLES)
_HIDDEN, _RIM = 0.65, 0.03  # confidence that hidden arms count with; share of the picture

# Bones whose direction the pose model's metric landmarks tell, with their joint names.
DIRECTIONS = (
    ("right_shoulder", "left_shoulder"),
    ("right_hip", "left_hip"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("left_hip", "left_knee"),
    ("right_hip", "right_knee"),
    ("left_knee", "left_ankle"),
    ("right_knee", "right_ankle"),
    ("left_wrist", "left_index"),
    ("right_wrist", "right_index"),
    ("left_wrist", "left_pinky"),
    ("right_wrist", "right_pinky"),
    ("left_heel", "left_foot_index"),
    ("right_heel", "right_foot_index"),
)

_ARM_BONES = tuple(
    (POSE[f"{side}_{first}"], POSE[f"{side}_{second}"])
    for side in ("left", "right")
    for first, second in (("shoulder", "elbow"), ("elbow", "wrist"))
)


def ramp(confidence: Tensor, low: float = 0.35, high: float = 0.8) -> Tensor:
    """Maps confidences to 0 below `low`, 1 above `high`, linearly between."""
    return ((confidence - low) / (high - low)).clamp(0, 1)


def keypoint_weights(detection: Detection) -> dict[str, Tensor]:
    """Returns a weight for every landmark of every set, 0 where it is not to be used."""
    weights = {}
    for name, points in detection.keypoints.items():
        if name == "pose":
            weights[name] = _pose_weights(detection)
        elif name == "face":
            weights[name] = _FACE_SHARE * _face_weights() * ramp(points[:, 2], 0.1, 0.5)
        else:
            weights[name] = _HAND_SHARE * ramp(points[:, 2], 0.1, 0.6)
            weights[name] = weights[name] * detection.inside(points, 0.02)
    return weights


def _pose_weights(detection: Detection) -> Tensor:
    points = detection.keypoints["pose"]
    inside = detection.inside(points, 0.02)
    weights = ramp(_placed(detection)) * inside
    measured = "pose" in detection.deviations  # then ears and knuckles are known well enough
    taken = detection.taken.get("pose", torch.zeros(len(points), dtype=torch.bool))
    for index, name in enumerate(POSE_NAMES):
        side, bare = name.split("_", 1) if "_" in name else ("", name)
        if "face" in detection.keypoints and (name in FACE_OF_POSE or bare == "ear"):
            known = bare == "ear" and (measured or bool(taken[index]))
            weights[index] = float(inside[index]) if known else 0.0
        if bare in (*_KNUCKLES, "wrist") and f"{side}_hand" in detection.keypoints:
            weights[index] *= 0.25 if bare == "wrist" else 0.0
        elif bare in _KNUCKLES:
            weights[index] *= 0.6 if measured else 0.3
    return weights


def _placed(detection: Detection) -> Tensor:
    """Returns how surely each pose landmark [33] is placed, rather than seen.

    Behind the back, in a pocket or under the other arm, a hand is not seen, yet the pose model
    places it to a few centimetres, nearer than an arm that hangs would be. It does not do so
    unless it sees the trunk, nor along the picture's rim.
    """
    points = detection.keypoints["pose"]
    sure = points[:, 2].clone()
    hips = points[[POSE["left_hip"], POSE["right_hip"]]]
    if not (detection.inside(hips, 0.02) & (hips[:, 2] >= SEEN)).any():
        return sure
    for side in ("left", "right"):
        arm = [POSE[f"{side}_{name}"] for name in _ARM]
        along_rim = not detection.inside(points[arm[:2]], -_RIM).any()
        if f"{side}_hand" not in detection.keypoints and not along_rim:
            held = sure[arm].clamp(min=_HIDDEN)
            sure[arm] = torch.where(detection.inside(points[arm]), held, sure[arm])
    return sure


def bone_weights(
    detection: Detection, name: str, pairs: Sequence[tuple[int, int]], weights: Tensor
) -> Tensor:
    """Returns how much the metric direction of each bone [M] counts.

    A bone counts as its less certain end. Of arms, the direction counts also where an end lies
    beyond the picture: the end's place is a guess there, the direction is none. Of 136 forearms of
    half bodies whose wrist, of confidence 0.4 and more, was beyond the picture, it was right to
    45 degrees in 90%, straight down in 35%; upper arms are right to 8 degrees. Not so below
    pictures of heads: 40% and 53% of 15 forearms.

    Args:
        detection: with the set `name` and its metric landmarks.
        name: landmark set.
        pairs: M bones, as rows of the set.
        weights: [K] of the set's landmarks.
    """
    ends = torch.tensor(pairs)
    sure = weights[ends].amin(-1)
    if name != "pose":
        return 0.3 * sure
    beyond = ~detection.inside(detection.keypoints["pose"], 0.02)[ends].all(-1)
    arms = torch.tensor([pair in _ARM_BONES for pair in pairs])
    told = ramp(_told(detection))[ends].amin(-1).to(sure)
    return torch.where(arms & beyond, told, sure)


def arm_confidence(detection: Detection, name: str) -> float:
    """Returns an arm landmark's confidence, also where it lies beyond the picture.

    Below a picture without hips it is none: heads' arms hang there more often than not.
    """
    if "pose" not in detection.keypoints:
        return 0.0
    return float(_told(detection)[POSE[name]])


def _told(detection: Detection) -> Tensor:
    """Returns confidences [33] that landmarks lie where they are, or at least in that direction."""
    points = detection.keypoints["pose"]
    hips = points[[POSE["left_hip"], POSE["right_hip"]]]
    if detection.inside(hips, 0.02).any():
        return points[:, 2]
    return points[:, 2] * (points[:, 1] < 1.02 * detection.height)


def _face_weights() -> Tensor:
    weights = torch.ones(478)
    weights[list(OUTLINE)] = 0.5
    for region in (LEFT_EYE, RIGHT_EYE, INNER_LIPS, OUTER_LIPS, IRISES):
        weights[list(region)] = 2.5
    return weights


def keypoint_sigmas(name: str, spread: Tensor) -> Tensor:
    """Returns each landmark's standard deviation [K], metres.

    Args:
        name: landmark set.
        spread: [K] of the landmark map, metres.
    """
    if name == "pose":
        bare = [n.split("_", 1)[-1] if "_" in n else n for n in POSE_NAMES]
        own = torch.tensor([_POSE_SIGMA.get(n, 0.01) for n in bare])
        return (own.square() + (0.5 * spread).square()).sqrt()
    deviation = _FACE_SIGMA if name == "face" else _HAND_SIGMA
    return (deviation**2 + spread.square()).sqrt()


def detected_sigmas(detection: Detection, name: str, spread: Tensor) -> Tensor:
    """Returns a set's standard deviations [K] (m): of this picture where known, else usual ones.

    Args:
        detection: what was detected.
        name: landmark set.
        spread: [K] of the landmark map, metres.
    """
    usual = keypoint_sigmas(name, spread)
    own = detection.deviations.get(name)
    return usual if own is None else torch.where(own.isnan(), usual, own)


def visible_parts(detection: Detection) -> dict[str, float]:
    """Returns how surely each part was seen, 0..1: head, upper, lower, left_hand, right_hand."""
    pose = detection.keypoints.get("pose")
    if pose is None:
        pose = torch.zeros(33, 3)
    seen = pose[:, 2] * detection.inside(pose, 0.02)

    def both(part: str) -> float:
        return float(seen[[POSE[f"left_{part}"], POSE[f"right_{part}"]]].mean())

    face = detection.keypoints.get("face")
    own = detection.taken.get("face")
    if face is not None and own is not None and not bool((face[~own, 2] > 0).any()):
        face = face[own]  # Sapiens' few, without a mesh about them
    head = seen[POSE["nose"]] if face is None else face[:, 2].mean()
    hands = {
        f"{side}_hand": float(detection.keypoints[f"{side}_hand"][:, 2].mean())
        if f"{side}_hand" in detection.keypoints
        else 0.0
        for side in ("left", "right")
    }
    return {"head": float(head), "upper": both("shoulder"), "lower": both("knee"), **hands}


def joint_strength(detection: Detection, parts: dict[str, float]) -> Tensor:
    """Returns a factor on the prior of each joint [55]: high where nothing was seen of it.

    Args:
        detection: what was seen.
        parts: of `visible_parts`.
    """
    strength = torch.ones(len(JOINT))
    if parts["upper"] < SEEN:  # only a head: it turns on the neck, not with the whole body
        for name in ("pelvis", "spine1", "spine2", "spine3"):
            strength[JOINT[name]] = 25.0
    for side in ("left", "right"):
        if arm_confidence(detection, f"{side}_elbow") < UNSURE:
            for name in ("shoulder", "elbow", "collar"):
                strength[JOINT[f"{side}_{name}"]] *= 4.0
        if arm_confidence(detection, f"{side}_wrist") < UNSURE:
            strength[JOINT[f"{side}_elbow"]] *= 4.0
        if detection.confidence(f"{side}_wrist") < UNSURE:
            strength[JOINT[f"{side}_wrist"]] *= 25.0
    return strength
