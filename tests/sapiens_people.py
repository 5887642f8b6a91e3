"""What a perfect Sapiens says of a known body, by the order of its 308 points."""

from __future__ import annotations

import torch

from presence.tracking.detection import POSE
from presence.tracking.relaxed import JOINT

# From the order that Sapiens' release documents; the tracker's own tables are not used here.
JOINTS = {
    5: "left_shoulder",
    6: "right_shoulder",
    7: "left_elbow",
    8: "right_elbow",
    9: "left_hip",
    10: "right_hip",
    11: "left_knee",
    12: "right_knee",
    13: "left_ankle",
    14: "right_ankle",
    62: "left_wrist",
    41: "right_wrist",
}
SURFACE = {
    0: "nose",
    1: "left_eye",
    2: "right_eye",
    3: "left_ear",
    4: "right_ear",
    15: "left_foot_index",
    18: "right_foot_index",
    17: "left_heel",
    20: "right_heel",
}
FACE = {
    178: 1, 179: 2, 71: 168,
    188: 61, 189: 291, 190: 0, 191: 17, 204: 78, 205: 308, 206: 13, 207: 14,
    120: 133, 121: 33, 122: 159, 163: 145, 96: 362, 97: 263, 98: 386, 146: 374,
    281: 468, 272: 473,
}  # fmt: skip
FIRST = {"right_hand": 21, "left_hand": 42}
WRIST = {"right_hand": 41, "left_hand": 62}
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def sapiens_keypoints(body, landmarks, params, camera, *, hands=True, face=True, sure=0.9):
    """Returns `sapiens308` [308 3] and both hands [21 3]; what is not seen has confidence 0."""
    mesh = body(params)
    where = torch.zeros(308, 3)
    known = torch.zeros(308, dtype=torch.bool)

    def put(index, point):
        where[index], known[index] = point, True

    pose = landmarks.points(body, "pose", mesh)
    for index, name in JOINTS.items():
        put(index, mesh.joints[JOINT[name]])
    for index, name in SURFACE.items():
        put(index, pose[POSE[name]])
    if face:
        mesh_points = landmarks.points(body, "face", mesh)
        for index, row in FACE.items():
            put(index, mesh_points[row])
    if hands:
        for name, first in FIRST.items():
            side, tips = name.removesuffix("_hand"), landmarks.points(body, name, mesh)[4::4]
            for finger, bone in enumerate(FINGERS):  # tip, then from the outer to the inner joint
                put(first + 4 * finger, tips[finger])
                for k in (3, 2, 1):
                    put(first + 4 * finger + 4 - k, mesh.joints[JOINT[f"{side}_{bone}{k}"]])
    px, _ = camera.project(where)
    size = torch.tensor([camera.width, camera.height])
    inside = known & ((px > 0) & (px < size)).all(-1)
    points = torch.cat([px, sure * inside.float()[:, None]], -1)
    return {"sapiens308": points, **hands_of(points, hands)}


def hands_of(points, found=True):
    """Returns the hands from wrist and thumb's base outwards."""
    order = [4 * finger + k for finger in range(5) for k in (3, 2, 1, 0)]
    result = {}
    for name, first in FIRST.items():
        hand = points[[WRIST[name], *(first + k for k in order)]].clone()
        if not found:
            hand[:, 2] = 0.0
        result[name] = hand
    return result
