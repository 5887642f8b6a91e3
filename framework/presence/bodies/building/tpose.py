"""Bringing Anny people from their lowered-arms rest pose to SMPL-X's T-pose."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.bodies.building.anny_source import AnnySource, People
from presence.bodies.building.vectors import unit
from presence.bodies.joints import JOINT_NAMES

_SIDES = {"left": ("L", 1.0), "right": ("R", -1.0)}
_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}

# Directions of the T-pose's segments for the left side (x is mirrored for the right). They lie
# a few degrees off the axes because people who were scanned for SMPL-X stood that way, and
# poses estimated for it are relative to that.
_UPPER_ARM = np.array([1.0, -0.04, -0.08])
_FOREARM = np.array([1.0, 0.02, 0.0])
_HAND = np.array([1.0, 0.0, 0.0])
_THIGH = np.array([0.03, -1.0, -0.02])
_SHANK = np.array([-0.01, -1.0, -0.06])
# Raising the arm also raises the shoulder girdle: share of it as in Anny's own T-pose.
_COLLAR_DEGREES, _SHOULDER_BLADE_DEGREES = 10.0, 18.0


def joint_bones() -> dict[str, str]:
    """Returns, for each SMPL-X joint but the toes, the Anny bone whose motion it takes over."""
    bones = {
        "pelvis": "root",
        "spine1": "spine03",
        "spine2": "spine02",
        "spine3": "spine01",
        "neck": "neck01",
        "head": "head",
        "jaw": "jaw",
    }
    limbs = {
        "hip": "upperleg01",
        "knee": "lowerleg01",
        "ankle": "foot",
        "collar": "clavicle",
        "shoulder": "upperarm01",
        "elbow": "lowerarm01",
        "wrist": "wrist",
        "eye": "eye",
    }
    for side, (letter, _) in _SIDES.items():
        bones.update({f"{side}_{ours}": f"{theirs}.{letter}" for ours, theirs in limbs.items()})
        for finger, number in _FINGER_NUMBER.items():
            for link in (1, 2, 3):
                bones[f"{side}_{finger}{link}"] = f"finger{number}-{link}.{letter}"
    return bones


def bone_joints(source: AnnySource) -> np.ndarray:
    """Returns [B] the SMPL-X joint that carries each Anny bone.

    A bone without counterpart goes with its nearest ancestor that has one; toes go with the
    joint at the ball of the foot.
    """
    direct = {bone: JOINT_NAMES.index(joint) for joint, bone in joint_bones().items()}
    for side, (letter, _) in _SIDES.items():
        for toe in range(1, 6):
            direct[f"toe{toe}-1.{letter}"] = JOINT_NAMES.index(f"{side}_foot")
    owners: list[int] = []
    for label, parent in zip(source.labels, source.parents, strict=True):
        owners.append(direct[label] if label in direct else owners[parent])
    return np.array(owners)


def merged_weights(source: AnnySource) -> np.ndarray:
    """Returns [V 55] skin weights: each joint has the sum of its bones' weights."""
    owners = bone_joints(source)
    merged = np.zeros((source.weights.shape[0], len(JOINT_NAMES)))
    for bone, joint in enumerate(owners):
        merged[:, joint] += source.weights[:, bone]
    return merged / merged.sum(1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class TPose:
    """People in the T-pose, the pelvis joint at the origin.

    Attributes:
        vertices: [N V 3] metres.
        heads: [N B 3] bone heads, metres.
        rotations: [N B 3 3] T-pose from rest, of every bone.
        shift: [N 3] what was added last, to bring the pelvis to the origin.
    """

    vertices: np.ndarray
    heads: np.ndarray
    rotations: np.ndarray
    shift: np.ndarray


def t_pose(source: AnnySource, people: People) -> TPose:
    """Poses people by Anny's own skeleton and weights."""
    rotations = t_pose_rotations(source, people)
    heads, vertices = pose_bones(source, people, rotations)
    shift = -heads[:, source.labels.index("spine04")]
    return TPose(vertices + shift[:, None], heads + shift[:, None], rotations, shift)


def pose_bones(
    source: AnnySource, people: People, rotations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turns every bone by a world rotation [N B 3 3] about its head and skins the mesh.

    Returns:
        Bone heads [N B 3] and vertices [N V 3].
    """
    heads = people.heads.copy()
    for bone, parent in enumerate(source.parents):
        if parent >= 0:
            arm = people.heads[:, bone] - people.heads[:, parent]
            heads[:, bone] = heads[:, parent] + np.einsum("nij,nj->ni", rotations[:, parent], arm)
    shifts = heads - np.einsum("nbij,nbj->nbi", rotations, people.heads)
    affine = np.concatenate([rotations, shifts[..., None]], -1)  # [N B 3 4]
    vertices = np.empty_like(people.vertices)
    for index, transforms in enumerate(affine):
        blended = (source.weights @ transforms.reshape(len(transforms), 12)).reshape(-1, 3, 4)
        vertices[index] = np.einsum(
            "vij,vj->vi", blended[..., :3], people.vertices[index], optimize=True
        )
        vertices[index] += blended[..., 3]
    return heads, vertices


def t_pose_rotations(source: AnnySource, people: People) -> np.ndarray:
    """Returns [N B 3 3], the world rotation of every bone from Anny's rest pose to the T-pose."""
    count = len(people.heads)
    rotations = np.broadcast_to(np.eye(3), (count, len(source.labels), 3, 3)).copy()
    for letter, sign in _SIDES.values():
        _Limbs(source, people, rotations, letter, sign).turn()
    return rotations


class _Limbs:
    """Fills in the rotations of one side's arm, hand and leg."""

    def __init__(
        self, source: AnnySource, people: People, out: np.ndarray, letter: str, sign: float
    ) -> None:
        self.index = {label: i for i, label in enumerate(source.labels)}
        self.people, self.out, self.letter = people, out, letter
        self.mirror = np.array([sign, 1.0, 1.0])
        self.sign = sign
        self.subtree = {label: _descendants(source, i) for i, label in enumerate(source.labels)}

    def head(self, bone: str) -> np.ndarray:
        return self.people.heads[:, self.index[f"{bone}.{self.letter}"]]

    def tail(self, bone: str) -> np.ndarray:
        return self.people.tails[:, self.index[f"{bone}.{self.letter}"]]

    def set(self, bone: str, rotation: np.ndarray) -> None:
        """Gives `rotation` to a bone and everything below it."""
        self.out[:, self.subtree[f"{bone}.{self.letter}"]] = rotation[..., None, :, :]

    def turn(self) -> None:
        self.turn_arm()
        self.turn_leg()

    def turn_arm(self) -> None:
        count = len(self.out)
        for bone, degrees in (
            ("clavicle", _COLLAR_DEGREES),
            ("shoulder01", _SHOULDER_BLADE_DEGREES),
        ):
            self.set(bone, np.repeat(_about_z(self.sign * degrees)[None], count, 0))
        shoulder, elbow, wrist = map(self.head, ("upperarm01", "lowerarm01", "wrist"))
        upper, fore = elbow - shoulder, wrist - elbow
        upper_target, fore_target = self.mirror * _UPPER_ARM, self.mirror * _FOREARM
        # The elbow bends the forearm forwards: that fixes the upper arm's twist.
        upper_turn = _frame(upper_target, [0.0, 0.0, 1.0]) @ _t(_frame(upper, fore))
        self.set("upperarm01", upper_turn)
        hinge = np.cross(upper, fore)
        turned_hinge = np.einsum("nij,nj->ni", upper_turn, hinge)
        fore_turn = _frame(fore_target, turned_hinge) @ _t(_frame(fore, hinge))
        self.set("lowerarm01", fore_turn)
        across = self.head("finger2-1") - self.head("finger5-1")
        along = self.head("finger3-1") - wrist
        hand_turn = _frame(self.mirror * _HAND, [0.0, 0.0, 1.0]) @ _t(_frame(along, across))
        self.set("lowerarm02", _halfway(fore_turn, hand_turn))
        self.set("wrist", hand_turn)
        for number in (2, 3, 4, 5):
            self.straighten(number, hand_turn)

    def straighten(self, number: int, hand_turn: np.ndarray) -> None:
        """Flattens one finger into the palm's plane, keeping the way it points sideways."""
        links = [f"finger{number}-{link}" for link in (1, 2, 3)]
        ends = [self.head(links[1]), self.head(links[2]), self.tail(links[2])]
        first = np.einsum("nij,nj->ni", hand_turn, ends[0] - self.head(links[0]))
        target = first * np.array([1.0, 0.0, 1.0])
        for link, end in zip(links, ends, strict=True):
            along = np.einsum("nij,nj->ni", hand_turn, end - self.head(link))
            self.set(link, _between(along, target) @ hand_turn)

    def turn_leg(self) -> None:
        hip, knee, ankle = map(self.head, ("upperleg01", "lowerleg01", "foot"))
        thigh = _between(knee - hip, self.mirror * _THIGH)
        self.set("upperleg01", thigh)
        shank = _between(np.einsum("nij,nj->ni", thigh, ankle - knee), self.mirror * _SHANK)
        self.set("lowerleg01", shank @ thigh)
        self.set("foot", np.broadcast_to(np.eye(3), thigh.shape))  # flat on the ground, forward


def _descendants(source: AnnySource, bone: int) -> list[int]:
    inside = {bone}
    for index, parent in enumerate(source.parents):
        if parent in inside:
            inside.add(index)
    return sorted(inside)


def _t(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def _frame(primary: np.ndarray, secondary: object) -> np.ndarray:
    """Right-handed frames [... 3 3] with columns along primary, near secondary, and across."""
    first = unit(np.asarray(primary, float))
    first, second = np.broadcast_arrays(first, np.asarray(secondary, float))
    second = unit(second - (second * first).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], -1)


def _between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotations [N 3 3] that turn the directions [N 3] `start` to `end`."""
    a, b = unit(start), np.broadcast_to(unit(np.asarray(end, float)), start.shape)
    axis, cosine = np.cross(a, b), (a * b).sum(-1)
    cross = np.zeros((*a.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2] = -axis[..., 2], axis[..., 1]
    cross[..., 1, 0], cross[..., 1, 2] = axis[..., 2], -axis[..., 0]
    cross[..., 2, 0], cross[..., 2, 1] = -axis[..., 1], axis[..., 0]
    return np.eye(3) + cross + cross @ cross / (1.0 + cosine)[..., None, None]


def _halfway(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rotations midway between two, by the polar factor of their mean."""
    u, _, vt = np.linalg.svd(first + second)
    return u @ vt


def _about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
