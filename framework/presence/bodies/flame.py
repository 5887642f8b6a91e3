"""`Flame`: a head model from the user's own FLAME file, and where face landmarks lie on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.bodies import skinning
from presence.bodies.data import open_arrays
from presence.bodies.part_model import PartModel, read_part
from presence.errors import AssetError

NUM_SHAPE, NUM_EXPRESSION = 300, 100
PARENTS = (-1, 0, 1, 1, 1)
"""Of FLAME's joints: root, neck, jaw, left eye, right eye."""


class Flame(PartModel):
    """FLAME's arithmetic: shape and expression, pose correctives, linear blend skinning.

    Args:
        v_template: [V 3] metres.
        faces: [F 3].
        shapedirs: [V 3 400], shape then expression.
        posedirs: [V 3 36].
        joint_regressor: [5 V].
        weights: [V 5].

    Source: FLAME (Li et al. 2017), Eq. 1-2; the arithmetic is SMPL's.
    """

    parents = PARENTS
    faces: Tensor

    def __init__(
        self,
        v_template: Tensor,
        faces: Tensor,
        shapedirs: Tensor,
        posedirs: Tensor,
        joint_regressor: Tensor,
        weights: Tensor,
    ) -> None:
        super().__init__(v_template, shapedirs, posedirs, joint_regressor, weights)
        self.register_buffer("faces", faces.long(), persistent=False)

    def forward(self, shape: Tensor, expression: Tensor, rotations: Tensor) -> Tensor:
        """Returns posed vertices [... V 3], metres.

        Args:
            shape: [... S], S at most 300.
            expression: [... E], E at most 100.
            rotations: [... 5 3 3] of each joint relative to its parent.
        """
        return self.posed(self.rest(shape, expression), rotations)[0]

    def rest(self, shape: Tensor, expression: Tensor) -> Tensor:
        """Returns rest vertices [... V 3] of shape [... S] and expression [... E]."""
        size, actions = shape.shape[-1], expression.shape[-1]
        ends = NUM_SHAPE + actions
        return (
            self.v_template
            + skinning.blend_shapes(shape, self.shapedirs[:size])
            + skinning.blend_shapes(expression, self.shapedirs[NUM_SHAPE:ends])
        )

    def pupils(self) -> tuple[int, int]:
        """Returns the vertices at the front of the left and of the right eyeball."""
        found = []
        for joint in (3, 4):
            ball = torch.nonzero(self.weights[:, joint] > 0.99)[:, 0]
            if not len(ball):
                raise AssetError("the FLAME file has no eyeballs that turn with the eyes' joints")
            found.append(int(ball[self.v_template[ball, 2].argmax()]))
        return found[0], found[1]


@dataclasses.dataclass(frozen=True)
class FlameMarks:
    """Landmarks on FLAME's surface.

    Attributes:
        detected: [K] which of MediaPipe's 478 each one is.
        corners: [K 3] vertices.
        weights: [K 3] barycentric.
    """

    detected: Tensor
    corners: Tensor
    weights: Tensor

    def points(self, vertices: Tensor) -> Tensor:
        """Returns the landmarks [... K 3] on vertices [... V 3]."""
        return (vertices[..., self.corners, :] * self.weights[..., None]).sum(-2)


def load_flame(path: str | Path) -> Flame:
    """Reads `generic_model.pkl` or an `.npz` of the same names; no code of the file runs.

    Raises:
        AssetError: missing, unreadable, or not FLAME.
    """
    arrays = read_part(path, "FLAME", PARENTS, names=("f",))
    directions = arrays["shapedirs"]
    if directions.shape[-1] != NUM_SHAPE + NUM_EXPRESSION:
        raise AssetError(
            f"{path} is not a FLAME file: {directions.shape[-1]} directions instead of "
            f"{NUM_SHAPE + NUM_EXPRESSION}"
        )
    return Flame(
        arrays["v_template"],
        arrays["f"].long(),
        directions,
        arrays["posedirs"],
        arrays["J_regressor"],
        arrays["weights"],
    )


def load_marks(path: str | Path, flame: Flame, detected: tuple[int, ...]) -> FlameMarks:
    """Reads a landmark embedding: MediaPipe's own, or that of 51 of the 68 usual landmarks.

    Args:
        path: with `lmk_face_idx`, `lmk_b_coords`, and `landmark_indices` where it is MediaPipe's.
        flame: whose faces the file names.
        detected: MediaPipe's landmarks that stand for the 51.

    Raises:
        AssetError: it is no embedding for this model.
    """
    path = Path(path)
    arrays = open_arrays(path)
    if "lmk_face_idx" not in arrays or "lmk_b_coords" not in arrays:
        raise AssetError(f"{path} is no landmark embedding: no `lmk_face_idx`, `lmk_b_coords`")
    faces = torch.from_numpy(np.asarray(arrays["lmk_face_idx"]).astype(np.int64)).flatten()
    weights = torch.from_numpy(np.asarray(arrays["lmk_b_coords"], np.float64)).float()
    given = arrays["landmark_indices"] if "landmark_indices" in arrays else detected
    numbers = torch.from_numpy(np.asarray(given).astype(np.int64)).flatten()
    fits = len(faces) == len(numbers) and tuple(weights.shape) == (len(faces), 3)
    if not fits or int(faces.max()) >= len(flame.faces) or int(numbers.max()) >= 478:
        raise AssetError(f"{path} does not fit: {len(faces)} places for {len(numbers)} landmarks")
    return FlameMarks(numbers, flame.faces[faces], weights)
