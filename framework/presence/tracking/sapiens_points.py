"""`SapiensPoints`: which of Sapiens' 308 keypoints is which landmark, and where it is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from presence.tracking.detection import POSE, POSE_NAMES, SET_SIZES, Detection
from presence.tracking.landmarks import LandmarkMap, LandmarkSet
from presence.tracking.person_frame import PersonFrame
from presence.tracking.relaxed import JOINT

SURE = 0.5
"""Heat map maximum from which a keypoint is believed. The paper's own threshold is not in its text:
this is the confidence from which the tracker counts anything as seen."""
HANDS = ("left_hand", "right_hand")
WHOSE = "keypoints: "
"""How notes on whose keypoints were used begin."""
_SIDES = ("left", "right")
_BODY = (  # pose landmark without its side, and Sapiens' left and right one
    ("eye", 1, 2),
    ("ear", 3, 4),
    ("shoulder", 5, 6),
    ("elbow", 7, 8),
    ("hip", 9, 10),
    ("knee", 11, 12),
    ("ankle", 13, 14),
    ("foot_index", 15, 18),  # big toes
    ("heel", 17, 20),
    ("wrist", 62, 41),
)
POSE_POINTS: dict[str, int] = {
    "nose": 0,
    **{f"{side}_{name}": at[k] for name, *at in _BODY for k, side in enumerate(_SIDES)},
    "mouth_left": 189,
    "mouth_right": 188,
}
"""Pose landmark to Sapiens' keypoint. Knuckles are the hands', corners of the eyes the face's."""
FACE_POINTS: dict[int, int] = {
    1: 178,  # tip of the nose
    2: 179,  # below the nose
    168: 71,  # root of the nose
    61: 188,  # mouth: outer corners, middles of the outer lips, inner corners, inner lips
    291: 189,
    0: 190,
    17: 191,
    78: 204,
    308: 205,
    13: 206,
    14: 207,
    133: 120,  # eyes: inner and outer corner, middles of the upper and of the lower lid's lashes
    33: 121,
    159: 122,
    145: 163,
    362: 96,
    263: 97,
    386: 98,
    374: 146,
    468: 281,  # middles of the irises
    473: 272,
}
"""Landmark of the 478 to Sapiens' keypoint at the same place. Brows, nostrils, chin and the points
between have no such partner: MediaPipe's mesh slides there, Sapiens names anatomy."""
_JOINTED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
POSE_JOINTS: dict[int, int] = {
    POSE[f"{side}_{name}"]: JOINT[f"{side}_{name}"] for name in _JOINTED for side in _SIDES
}
"""Pose landmark to the joint in whose centre Sapiens' keypoint lies."""
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_FEW = 5  # facial points below which they say nothing where there is no mesh
_APART = 0.5  # mean distance, in sizes of a set, from which both networks see different things
_HIDDEN_WRISTS = tuple(POSE[f"{side}_wrist"] for side in _SIDES)


def _hand_joints(side: str) -> dict[int, int]:
    """Returns row to joint of one hand's 21 landmarks; the tips lie on the surface."""
    rows = {0: JOINT[f"{side}_wrist"]}
    for finger, name in enumerate(_FINGERS):
        rows |= {1 + 4 * finger + k: JOINT[f"{side}_{name}{k + 1}"] for k in range(3)}
    return rows


JOINTS_OF: dict[str, dict[int, int]] = {
    "pose": POSE_JOINTS,
    "left_hand": _hand_joints("left"),
    "right_hand": _hand_joints("right"),
}
"""Set to row to the body's joint, of landmarks that Sapiens sees in the joint's middle."""


@dataclasses.dataclass(frozen=True)
class SapiensPoints:
    """Sapiens' keypoints of one person.

    They take the place of MediaPipe's rather than being averaged with them: the paper's Eq. 19
    fits Sapiens' alone, and both mean different points of the body (a hip's joint against a
    point 4 cm before it), whose mean is a point of neither.

    Attributes:
        points: [308 3] px x, px y, heat map maximum 0..1.
        hands: "left_hand", "right_hand" to [21 3], wrist, then thumb to little finger outwards.
    """

    points: Tensor
    hands: Mapping[str, Tensor]

    @classmethod
    def of(cls, keypoints: Mapping[str, Tensor], scale: Tensor) -> SapiensPoints:
        """Takes an estimate's keypoints to another picture size.

        Args:
            keypoints: `sapiens308` and both hands, px of the portrait.
            scale: [2] of the wanted pixels over the portrait's, x and y.
        """
        factor = torch.cat([scale.float(), torch.ones(1)])
        sets = {name: keypoints[name].float().cpu() * factor for name in ("sapiens308", *HANDS)}
        return cls(sets["sapiens308"], {name: sets[name] for name in HANDS})

    def keypoints(self, scale: Tensor) -> dict[str, Tensor]:
        """Returns `sapiens308` and both hands as an estimate has them, times `scale` [2]."""
        factor = torch.cat([scale.float(), torch.ones(1)])
        sets = {"sapiens308": self.points, **self.hands}
        return {name: points * factor for name, points in sets.items()}

    def join(self, detection: Detection) -> Detection:
        """Returns the detection with Sapiens' keypoints where they are sure.

        Body and feet point by point, a hand as a whole, the face's points where MediaPipe's mesh
        is there and without it. A body landmark's confidence is the greater of both: what one
        of them sees is seen. MediaPipe's metric landmarks, which tell depth, move along.

        Args:
            detection: MediaPipe's; px of the same picture.
        """
        joined = self._with_hands(detection)
        joined = self._with_pose(joined)
        return self._with_face(joined)

    def _with_hands(self, detection: Detection) -> Detection:
        keypoints, world = dict(detection.keypoints), dict(detection.world)
        taken = dict(detection.taken)
        for name, points in self.hands.items():
            seen = points[:, 2] * detection.inside(points)
            if float(seen.mean()) < SURE:
                continue
            if name in keypoints and _apart(points[:, :2], keypoints[name][:, :2]) > _APART:
                world.pop(name, None)  # it was another thing
            keypoints[name] = points
            taken[name] = torch.ones(len(points), dtype=torch.bool)
        return dataclasses.replace(detection, keypoints=keypoints, world=world, taken=taken)

    def _with_pose(self, detection: Detection) -> Detection:
        rows = torch.tensor([POSE[name] for name in POSE_POINTS])
        found = self.points[list(POSE_POINTS.values())]
        sure = (found[:, 2] >= SURE) & detection.inside(found)
        taken = torch.zeros(len(POSE_NAMES), dtype=torch.bool)
        taken[rows[sure]] = True
        placed = torch.zeros(len(POSE_NAMES), 3)
        placed[rows] = found
        pose = detection.keypoints.get("pose", _nowhere(detection))
        if not self._hips_seen(detection, pose, placed, taken):
            for row, name in zip(_HIDDEN_WRISTS, HANDS, strict=True):
                # Wrists of half bodies flip up where the hand is hidden (Appendix C.3).
                taken[row] &= name in detection.keypoints
        if not taken.any():
            return detection
        surer = torch.maximum(placed[:, 2], pose[:, 2])[:, None]
        joined = torch.where(taken[:, None], torch.cat([placed[:, :2], surer], -1), pose)
        changed = dataclasses.replace(
            detection,
            keypoints={**detection.keypoints, "pose": joined},
            world=moved_world(detection, joined, taken),
            taken={**detection.taken, "pose": taken},
        )
        deviation = detection.deviations.get("pose")
        if deviation is None:
            return changed
        own = torch.where(taken, torch.nan, deviation)  # it was that of MediaPipe's landmarks
        return dataclasses.replace(changed, deviations={**detection.deviations, "pose": own})

    def _hips_seen(self, detection: Detection, pose: Tensor, placed: Tensor, taken: Tensor) -> bool:
        hips = [POSE["left_hip"], POSE["right_hip"]]
        theirs = (pose[hips, 2] * detection.inside(pose[hips], 0.02)).clamp(0, 1)
        ours = placed[hips, 2] * taken[hips]
        return bool((torch.maximum(theirs, ours) >= SURE).all())

    def _with_face(self, detection: Detection) -> Detection:
        rows = torch.tensor(list(FACE_POINTS))
        found = self.points[list(FACE_POINTS.values())]
        sure = (found[:, 2] >= SURE) & detection.inside(found)
        if int(sure.sum()) < _FEW:
            return detection
        mesh, rows, found = detection.keypoints.get("face"), rows[sure], found[sure]
        if mesh is not None and _apart(found[:, :2], mesh[rows, :2], mesh[:, :2]) > _APART:
            mesh = None  # it lies on another thing, as on an ear in profile
        face = torch.zeros(SET_SIZES["face"], 3) if mesh is None else mesh.clone()
        if mesh is None:
            face[:, :2] = found[:, :2].mean(0)
        face[rows] = found
        taken = torch.zeros(len(face), dtype=torch.bool)
        taken[rows] = True
        return dataclasses.replace(
            detection,
            keypoints={**detection.keypoints, "face": face},
            taken={**detection.taken, "face": taken},
        )


def landmarks_of(landmarks: LandmarkMap, detection: Detection) -> LandmarkMap:
    """Returns where a detection's landmarks lie on the body: Sapiens' joints in the joints' middle.

    MediaPipe's map has its shoulders, hips and finger joints where that network puts them on
    clothed people; Sapiens' are labelled in the joints. Tips, toes, heels, ears and the face stay.

    Args:
        landmarks: MediaPipe's.
        detection: of `SapiensPoints.join`; another one leaves the map as it is.
    """
    changed = dict(landmarks.sets)
    for name, joints in JOINTS_OF.items():
        taken = detection.taken.get(name)
        if taken is not None and bool(taken.any()):
            rows = {row: joint for row, joint in joints.items() if taken[row]}
            changed[name] = _in_joints(landmarks.sets[name], rows)
    return LandmarkMap(changed) if detection.taken else landmarks


def in_joints(landmarks: LandmarkMap) -> LandmarkMap:
    """Returns a map as `landmarks_of` does where Sapiens' are all taken; see `JOINTS_OF`."""
    changed = {name: _in_joints(landmarks.sets[name], rows) for name, rows in JOINTS_OF.items()}
    return LandmarkMap({**landmarks.sets, **changed})


def whose_keypoints(detection: Detection) -> str:
    """Returns the line that says whose keypoints a joined detection has.

    Example:
        >>> whose_keypoints(Detection(10, 10, {}))
        "keypoints: mediapipe's; sapiens_pose is sure of none"
    """
    parts = []
    for name, words in (("pose", "of the body's"), ("face", "of the face's")):
        taken = detection.taken.get(name)
        if taken is not None:
            parts.append(f"{int(taken.sum())} {words} {len(taken)} landmarks")
    parts += [f"the {name.replace('_', ' ')}" for name in HANDS if name in detection.taken]
    if not parts:
        return f"{WHOSE}mediapipe's; sapiens_pose is sure of none"
    return f"{WHOSE}sapiens_pose's for {', '.join(parts)}; mediapipe's for the rest"


def is_sparse(detection: Detection) -> bool:
    """Returns whether the face's landmarks are Sapiens' few alone, without a mesh about them."""
    return "face" in detection.taken and bool(
        (detection.keypoints["face"][~detection.taken["face"], 2] <= 0).all()
    )


def is_elsewhere(before: Detection, after: Detection, name: str) -> bool:
    """Returns whether Sapiens has a hand or the face where MediaPipe has another thing.

    Args:
        before: MediaPipe's, which has the set.
        after: the same, joined, with some of the set taken.
        name: of the set.
    """
    if name == "pose":
        return False
    rows, theirs = after.taken[name], before.keypoints[name][:, :2]
    return _apart(after.keypoints[name][rows, :2], theirs[rows], theirs) > _APART


def moved_world(detection: Detection, joined: Tensor, taken: Tensor) -> dict[str, Tensor]:
    """Returns the metric landmarks with the pose moved as in the picture; depth stays.

    Args:
        detection: before.
        joined: [33 3] the pose's landmarks where they are now, px.
        taken: [33] bool, those that moved.
    """
    if "pose" not in detection.world:
        return detection.world
    scale = max(PersonFrame.of(detection).px_per_metre, 1e-6)
    shift = (joined - detection.keypoints["pose"])[:, :2] / scale * taken[:, None]
    metric = detection.world["pose"].clone()
    metric[:, :2] += shift
    return {**detection.world, "pose": metric}


def _nowhere(detection: Detection) -> Tensor:
    """Returns a pose [33 3] of which nothing is known: outside the picture, unsure."""
    return torch.tensor([-float(detection.width), -float(detection.height), 0.0]).repeat(33, 1)


def _apart(first: Tensor, second: Tensor, whole: Tensor | None = None) -> float:
    """Returns the mean distance of points [K 2], in sizes of what they are of."""
    whole = second if whole is None else whole
    size = float((whole.amax(0) - whole.amin(0)).amax())
    return float((first - second).norm(dim=-1).mean()) / max(size, 1e-6)


def _in_joints(marks: LandmarkSet, rows: Mapping[int, int]) -> LandmarkSet:
    """Returns the set with some rows in the middle of joints."""
    at, joints = torch.tensor(list(rows), dtype=torch.long), torch.tensor(list(rows.values()))
    changed = {
        name: getattr(marks, name).clone() for name in ("face_ids", "joints", "frames", "offsets")
    }
    if len(at):
        changed["face_ids"][at] = -1
        changed["joints"][at] = joints
        changed["frames"][at] = joints
        changed["offsets"][at] = 0.0
    return dataclasses.replace(marks, **changed)
