"""Drops what detectors claim against each other: faces beside the head, arms in a corner."""

from __future__ import annotations

import dataclasses

import torch

from presence.tracking.detection import POSE, Detection, hips_far_below
from presence.tracking.face_regions import FACE_OF_POSE

_APART = 0.45  # mean distance of common points, in face sizes, from which a mesh is another thing
_SURE = 0.5
_RIM, _UNSURE = 0.03, 0.3  # share of the picture; confidence that counts as unseen
# Confidence from which an elbow along the rim is seen there: of 23 such arms of half bodies, at
# 0.77 and more, the upper arm's direction is right to 8 degrees but for one (hanging: 25 to 116).
_SURE_ELBOW = 0.75


def consistent(detection: Detection) -> Detection:
    """Returns the detection without what contradicts itself.

    In profile, face detectors take an ear for a face now and then, the pose model does not;
    forearms that the pose model does not see it lays along the picture's rim; and in pictures of
    heads it raises hands that nobody sees.

    Example:
        >>> consistent(Detection(10, 10, {})).notes
        ()
    """
    return _without_unseen_hands(_without_rim_arms(_without_far_face(detection)))


def _without_rim_arms(detection: Detection) -> Detection:
    pose = detection.keypoints.get("pose")
    if pose is None:
        return detection
    pose = pose.clone()
    for side in ("left", "right"):
        ends = [POSE[f"{side}_elbow"], POSE[f"{side}_wrist"]]
        if (
            f"{side}_hand" not in detection.keypoints
            and not detection.inside(pose[ends], -_RIM).any()
            and float(pose[ends[0], 2]) < _SURE_ELBOW
        ):
            arm = [*ends, *(POSE[f"{side}_{name}"] for name in ("pinky", "index", "thumb"))]
            pose[arm, 2] = pose[arm, 2].clamp(max=_UNSURE)
    return dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})


def _without_unseen_hands(detection: Detection) -> Detection:
    """Where the hips lie far below the picture, a wrist within it has a hand, or is imagined.

    Of 58 such wrists without a hand in 558 pictures of heads, 5 were right to 0.25 trunks.
    """
    pose = detection.keypoints.get("pose")
    if pose is None or not hips_far_below(pose, detection.height):
        return detection
    pose = pose.clone()
    for side in ("left", "right"):
        if f"{side}_hand" not in detection.keypoints:
            hand = [POSE[f"{side}_{name}"] for name in ("wrist", "pinky", "index", "thumb")]
            pose[hand, 2] = pose[hand, 2].clamp(max=_UNSURE)
    return dataclasses.replace(detection, keypoints={**detection.keypoints, "pose": pose})


def _without_far_face(detection: Detection) -> Detection:
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
