"""Drops what one detector claims against another: a face mesh that is not where the head is."""

from __future__ import annotations

import dataclasses

import torch

from presence.tracking.detection import POSE, Detection
from presence.tracking.face_regions import FACE_OF_POSE

_APART = 0.45  # mean distance of common points, in face sizes, from which a mesh is another thing
_SURE = 0.5


def consistent(detection: Detection) -> Detection:
    """Returns the detection without a face mesh that contradicts the body's own face landmarks.

    In profile, face detectors take an ear for a face now and then; the pose model does not.

    Example:
        >>> consistent(Detection(10, 10, {})).notes
        ()
    """
    face, pose = detection.keypoints.get("face"), detection.keypoints.get("pose")
    if face is None or pose is None:
        return detection
    marks = torch.stack([pose[POSE[name]] for name in FACE_OF_POSE])
    mesh = face[list(FACE_OF_POSE.values()), :2]
    if float(marks[:, 2].mean()) < _SURE:
        return detection
    size = float((face[:, :2].amax(0) - face[:, :2].amin(0)).max())
    apart = float((mesh - marks[:, :2]).norm(dim=-1).mean()) / max(size, 1e-6)
    if apart <= _APART:
        return detection
    kept = {name: points for name, points in detection.keypoints.items() if name != "face"}
    note = "the facial landmarks lay beside the head: the face keeps its neutral expression"
    return dataclasses.replace(detection, keypoints=kept, notes=(*detection.notes, note))
