"""What the detector saw, as the cues that estimators take."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.structures import Cues, Estimate, Portrait
from presence.tracking.detection import POSE, Detection
from presence.tracking.evidence import SEEN
from presence.tracking.sapiens_points import is_sparse

# As on renders: hair above the mesh, of its height; an arm's outside, of the shoulders' width.
_HAIR, _ARM = 0.5, 0.3
_TRUNK = tuple(POSE[f"{s}_{n}"] for s in ("left", "right") for n in ("shoulder", "hip", "knee"))


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


def landmark_box(detection: Detection) -> Tensor | None:
    """Returns the person's box [4] (px) as the landmarks tell it, None without any.

    For frames without a mask: sure landmarks in the picture, the hair above the face, and the
    trunk also where it is beyond the rim, because the person goes on that far.

    Args:
        detection: px of the wanted picture.
    """
    found = []
    for name, points in detection.keypoints.items():
        sure = points[(points[:, 2] >= SEEN) & detection.inside(points), :2]
        found.append(sure)
        if name == "face" and len(sure):
            top, bottom = sure[:, 1].min(), sure[:, 1].max()
            found.append(torch.stack([sure[:, 0].mean(), top - _HAIR * (bottom - top)])[None])
        if name == "pose" and bool((points[:, 2] > 0).any()):
            found += [points[list(_TRUNK), :2], _outer_shoulders(points[:, :2])]
    every = torch.cat(found) if found else torch.zeros(0, 2)
    if not len(every):
        return None
    every = every.clamp_min(0).minimum(every.new_tensor([detection.width, detection.height]))
    return torch.cat([every.amin(0), every.amax(0)])


def _outer_shoulders(pose: Tensor) -> Tensor:
    """Returns where the upper arms end outwards [2 2], of landmarks [33 2] in their middle."""
    ends = pose[[POSE["left_shoulder"], POSE["right_shoulder"]]]
    return ends + _ARM * (ends - ends.flip(0))


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
