"""Derives landmarks inside the body: each hangs on a joint, offset as detections agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.bodies.joints import PARENTS
from presence.structures import Camera, ProxyMesh
from presence.tracking.detection import POSE_NAMES, SET_SIZES
from presence.tracking.face_regions import FACE_OF_POSE
from presence.tracking.landmarks import LandmarkSet
from presence.tracking.relaxed import JOINT

Detect = Callable[[np.ndarray], np.ndarray | None]


class Pictured(Protocol):
    """A picture [H W 3] (uint8) of a known body; see `RenderedPerson` and `ClothedPerson`."""

    @property
    def image(self) -> np.ndarray: ...  # noqa: D102

    @property
    def mesh(self) -> ProxyMesh: ...  # noqa: D102

    @property
    def camera(self) -> Camera: ...  # noqa: D102


_FEWEST = 10  # observations
_PRIOR = 0.02  # m, how far an offset is expected to lie from its first guess
_HAND_PRIOR = 0.004
_ROBUST = 0.03  # m, residuals well beyond count little (Geman-McClure)

# Pose landmark to (joint, joint whose rotation turns the offset, first guess in metres, left).
_POSE_ANCHORS: dict[str, tuple[str, str, tuple[float, float, float]]] = {
    "ear": ("head", "head", (0.075, 0.03, 0.0)),
    "shoulder": ("shoulder", "collar", (0.0, 0.0, 0.0)),
    "elbow": ("elbow", "elbow", (0.0, 0.0, 0.0)),
    "wrist": ("wrist", "elbow", (0.0, 0.0, 0.0)),
    "pinky": ("pinky1", "wrist", (0.0, 0.0, 0.0)),
    "index": ("index1", "wrist", (0.0, 0.0, 0.0)),
    "thumb": ("thumb2", "thumb1", (0.0, 0.0, 0.0)),
    "hip": ("hip", "pelvis", (0.0, 0.0, 0.0)),
    "knee": ("knee", "hip", (0.0, 0.0, 0.0)),
    "ankle": ("ankle", "knee", (0.0, 0.0, 0.0)),
    "heel": ("ankle", "ankle", (0.0, -0.06, -0.05)),
    "foot_index": ("foot", "foot", (0.0, -0.01, 0.06)),
}
# MediaPipe's order of a hand's landmarks after the wrist; each finger's fourth is its tip.
_HAND_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def pose_anchors(body: Body, face: LandmarkSet) -> LandmarkSet:
    """Returns first guesses for the 33 pose landmarks; those of the face come from its own set."""
    count = SET_SIZES["pose"]
    faces, bary = torch.full((count,), -1), torch.zeros(count, 3)
    joints, frames = torch.full((count,), -1), torch.full((count,), -1)
    offsets, spread = torch.zeros(count, 3), torch.full((count,), 0.02)
    for index, name in enumerate(POSE_NAMES):
        if name in FACE_OF_POSE:
            source = FACE_OF_POSE[name]
            faces[index], bary[index] = face.face_ids[source], face.barycentrics[source]
            continue
        side, bare = name.split("_", 1)
        joint, frame, offset = _POSE_ANCHORS[bare]
        sign = 1.0 if side == "left" else -1.0
        joints[index], frames[index] = _joint(side, joint), _joint(side, frame)
        offsets[index] = torch.tensor(offset) * torch.tensor([sign, 1.0, 1.0])
    return LandmarkSet(faces, bary, joints, frames, offsets, spread)


def hand_anchors(body: Body, side: str) -> LandmarkSet:
    """Returns the 21 landmarks of a hand: the wrist, the finger joints and the fingertips."""
    joints, offsets = [JOINT[f"{side}_wrist"]], [torch.zeros(3)]
    for finger in _HAND_FINGERS:
        last = JOINT[f"{side}_{finger}3"]
        joints += [JOINT[f"{side}_{finger}{link}"] for link in (1, 2, 3)] + [last]
        offsets += [torch.zeros(3)] * 3 + [_tip_offset(body, last)]
    count = len(joints)
    none, ids = torch.full((count,), -1), torch.tensor(joints)
    frames = torch.tensor([j if i % 4 == 0 else PARENTS[j] for i, j in enumerate(joints)])
    frames[0] = JOINT[f"{side}_wrist"]
    return LandmarkSet(
        none, torch.zeros(count, 3), ids, frames, torch.stack(offsets), torch.full((count,), 0.005)
    )


def _tip_offset(body: Body, joint: int) -> Tensor:
    """From a finger's last joint to the middle of its farthest skin, 4 mm inside."""
    origin = body.joint_template.reshape(-1, 3)[joint]
    bone = origin - body.joint_template.reshape(-1, 3)[PARENTS[joint]]
    axis = torch.nn.functional.normalize(bone, dim=0)
    points = body.v_template[body.weights[:, joint] > 0.5] - origin
    reach = points @ axis
    tip = points[reach > reach.max() - 0.003].mean(0)
    return tip - 0.004 * torch.nn.functional.normalize(tip, dim=0)


def _joint(side: str, name: str) -> int:
    return JOINT[name] if name in JOINT else JOINT[f"{side}_{name}"]


def fit_offsets(
    body: Body, marks: LandmarkSet, people: Iterable[Pictured], detect: Detect, prior: float
) -> tuple[LandmarkSet, int]:
    """Moves joint landmarks to where detections on renders put them.

    For every landmark the offset minimises robust distances between its projection and its
    detections, plus a pull towards its first guess; one distance is measured at the joint's
    depth, so that all people count alike. Landmarks beyond the picture's rim count nothing.

    Args:
        body: the model.
        marks: first guesses.
        people: renders.
        detect: [H W 3] uint8 to [K 3] (px, px, confidence), or None.
        prior: metres, standard deviation of the pull.

    Returns:
        The moved landmarks, and on how many renders there was a detection.
    """
    rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(len(marks))]
    seen = 0
    for person in people:
        found = detect(person.image)
        if found is None:
            continue
        seen += 1
        jacobians, gaps, inside = _observe(body, marks, person, found)
        usable = inside & (marks.joints.numpy() >= 0) & (found[:, 2] > 0.6)
        for index in np.flatnonzero(usable):
            rows[index].append((jacobians[index], gaps[index]))
    offsets, spread = marks.offsets.clone(), marks.spread.clone()
    for index, observed in enumerate(rows):
        if len(observed) >= _FEWEST:
            shift, spread[index] = _solve(observed, prior)
            offsets[index] += torch.from_numpy(shift).float()
    moved = LandmarkSet(
        marks.face_ids, marks.barycentrics, marks.joints, marks.frames, offsets, spread
    )
    return moved, seen


def _observe(
    body: Body, marks: LandmarkSet, person: Pictured, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compares detections with a body.

    Returns:
        d(picture offset in m)/d(offset) [K 2 3], the missing picture offset [K 2], and whether
        both the landmark and its detection lie in the picture [K].
    """
    carriers = body.weights.argmax(0)[marks.frames.clamp_min(0)]
    turns = person.mesh.skin_rotations[carriers]  # [K 3 3]
    moved = (turns @ marks.offsets[..., None])[..., 0]
    points = person.mesh.joints[marks.joints.clamp_min(0)] + moved
    px, depth = person.camera.project(points)
    focal = person.camera.K[0, 0]
    metres = (depth / focal)[:, None]
    gaps = (torch.from_numpy(found[:, :2]).float() - px) * metres
    cam = person.camera.to_cam(points)
    cam_from_offset = person.camera.cam_from_world[:3, :3] @ turns  # [K 3 3]
    rays = cam[:, :2] / depth[:, None]
    jacobians = cam_from_offset[:, :2] - rays[..., None] * cam_from_offset[:, 2:]
    both = np.concatenate([px.numpy(), found[:, :2]], -1)
    size = np.tile((person.camera.width, person.camera.height), 2)
    inside = ((both >= 0) & (both <= size)).all(-1)
    return jacobians.double().numpy(), gaps.double().numpy(), inside


def _solve(observed: list[tuple[np.ndarray, np.ndarray]], prior: float) -> tuple[np.ndarray, float]:
    jacobians = np.stack([j for j, _ in observed])
    gaps = np.stack([g for _, g in observed])
    shift = np.zeros(3)
    for _ in range(20):
        left = gaps - jacobians @ shift
        weights = (1 + (left**2).sum(-1) / _ROBUST**2) ** -2
        weighted = jacobians * weights[:, None, None]
        normal = np.einsum("nki,nkj->ij", weighted, jacobians)
        # The pull counts as much as ten detections of the prior's size.
        normal += 10 * (_ROBUST / 3) ** 2 / prior**2 * np.eye(3)
        shift = np.linalg.solve(normal, np.einsum("nki,nk->i", weighted, gaps))
    return shift, float(np.median(np.linalg.norm(gaps - jacobians @ shift, axis=-1)))


def mirrored(marks: LandmarkSet, other: LandmarkSet, partner: Tensor) -> LandmarkSet:
    """Averages joint offsets and spreads with the other side's, mirrored.

    Args:
        marks: [K] landmarks.
        other: the set that holds their partners (for a pose, `marks` itself).
        partner: [K] index of each landmark's partner in `other`.
    """
    flip = torch.tensor([-1.0, 1.0, 1.0])
    offsets = 0.5 * (marks.offsets + flip * other.offsets[partner])
    spread = 0.5 * (marks.spread + other.spread[partner])
    return LandmarkSet(
        marks.face_ids, marks.barycentrics, marks.joints, marks.frames, offsets, spread
    )


def pose_partners() -> Tensor:
    """Returns [33] the index of each pose landmark's mirror partner."""
    names = list(POSE_NAMES)

    def swap(name: str) -> str:
        if "left" in name:
            return name.replace("left", "right")
        return name.replace("right", "left")

    return torch.tensor([names.index(swap(name)) for name in names])
