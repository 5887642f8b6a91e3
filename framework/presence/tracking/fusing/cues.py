"""What the detector saw, as the cues that estimators take."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.structures import Cues, Estimate, Portrait
from presence.tracking.detection import Detection
from presence.tracking.sapiens_points import is_sparse


def cues_of(detection: Detection, portrait: Portrait) -> Cues:
    """Returns the mask's box and the landmarks, px of the portrait.

    Args:
        detection: of the portrait or a smaller copy.
        portrait: with the person's alpha.
    """
    return Cues(person=mask_box(portrait), keypoints=keypoints_of(detection, portrait))


def keypoints_of(detection: Detection, portrait: Portrait) -> dict[str, Tensor]:
    """Returns the landmarks as cues have them, px of the portrait.

    The few facial points that Sapiens sees where MediaPipe found no mesh are not among them:
    estimators of faces need the whole mesh.
    """
    keypoints = dict(enlarged(detection, portrait).keypoints)
    if is_sparse(detection):
        del keypoints["face"]
    return keypoints


def mask_box(portrait: Portrait) -> Tensor | None:
    """Returns left, top, right, bottom [4] (px) of the mask, None where it is empty."""
    rows, columns = (portrait.alpha[0].cpu() >= 0.5).nonzero().unbind(-1)
    if not len(rows):
        return None
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def enlarged(detection: Detection, portrait: Portrait) -> Detection:
    """Brings a detection from a working copy to the portrait's pixels."""
    height, width = portrait.size
    scale = torch.tensor([width / detection.width, height / detection.height, 1.0])
    points = {name: values * scale for name, values in detection.keypoints.items()}
    return Detection(width, height, points, detection.world, detection.notes, taken=detection.taken)


def nearest(estimates: tuple[Estimate, ...], cues: Cues) -> Estimate | None:
    """Returns the one of several people whom the cues are of, None of none.

    People are told apart by where the joint that places them is seen: nearest to the face, or to
    the middle of the box.
    """
    if len(estimates) < 2 or cues.person is None:
        return estimates[0] if estimates else None
    face = cues.keypoints.get("face")
    aim = (cues.person[:2] + cues.person[2:]) / 2 if face is None else face[:, :2].mean(0)
    places = [e.camera.project(e.body.translation[None])[0][0] for e in estimates]
    return estimates[int(torch.stack([(place - aim).norm() for place in places]).argmin())]
