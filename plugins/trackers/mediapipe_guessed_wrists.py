"""Wrists that the pose model lays into pictures of heads, though the arms are below them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch

from presence.tracking.detection import POSE, POSE_NAMES, Detection

_HAND = ("wrist", "pinky", "index", "thumb")
_MARGIN = 0.02  # share of the picture beyond its rim where landmarks are still inside
_SEEN_ELBOW = 0.4  # confidence from which an elbow leads to its wrist
_UNSEEN = 0.3  # confidence that counts as unseen
_SAME_COLOUR = 12.0  # distance in CIE L*a*b* within which a hand has the face's colour
_PATCH = 0.02  # of the picture's longer side, over which colours are averaged


def without_guessed_wrists(image: np.ndarray, detection: Detection) -> Detection:
    """Returns the detection with such wrists, and their knuckles, unseen.

    Below a picture without hips the pose model has nothing to go by, and claims a wrist inside it
    now and then. It is believed where an elbow leads to it, where its hand was found, or where
    the picture has the face's colour.

    Args:
        image: [H W 3] uint8 RGB.
        detection: of that picture.
    """
    pose = detection.keypoints.get("pose")
    if pose is None or _sees(detection, "left_hip") or _sees(detection, "right_hip"):
        return detection
    pose = pose.clone()
    for side in ("left", "right"):
        led_to = _sees(detection, f"{side}_elbow", _SEEN_ELBOW)
        if led_to or f"{side}_hand" in detection.keypoints or not _sees(detection, f"{side}_wrist"):
            continue
        if not _is_bare(image, detection, side):
            hand = [POSE[f"{side}_{name}"] for name in _HAND]
            pose[hand, 2] = pose[hand, 2].clamp(max=_UNSEEN)
    return dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})


def _sees(detection: Detection, name: str, least: float = 0.0) -> bool:
    point = detection.keypoints["pose"][POSE[name]]
    return bool(detection.inside(point, _MARGIN)) and float(point[2]) >= least


def _is_bare(image: np.ndarray, detection: Detection, side: str) -> bool:
    """Tells whether most points from the wrist to the knuckles have the face's colour."""
    pose = detection.keypoints["pose"]
    wrist, *knuckles = pose[[POSE[f"{side}_{name}"] for name in _HAND], :2]
    points = torch.stack([wrist, *knuckles, *((wrist + knuckle) / 2 for knuckle in knuckles)])
    head = pose[: POSE_NAMES.index("left_shoulder")]
    face = detection.keypoints.get("face", head)[:, :2]
    smooth = cv2.blur(image, (max(round(_PATCH * max(image.shape[:2])), 1),) * 2)
    skin = np.median(_colours(smooth, face), 0)
    apart = np.linalg.norm(_colours(smooth, points) - skin, axis=-1)
    return bool(np.mean(apart < _SAME_COLOUR) > 0.5)


def _colours(image: np.ndarray, points: torch.Tensor) -> np.ndarray:
    """Returns the L*a*b* colours [N 3] at points [N 2] (px), beyond the picture its rim's."""
    height, width = image.shape[:2]
    x, y = points.round().long().numpy().T
    rgb = image[y.clip(0, height - 1), x.clip(0, width - 1)].astype(np.float32) / 255
    return cv2.cvtColor(rgb[None], cv2.COLOR_RGB2Lab)[0]
