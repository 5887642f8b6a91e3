"""`Mano`: the right hand's model from the user's own MANO file; a left hand is its mirror image."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from presence.bodies import skinning
from presence.bodies.part_model import PartModel, read_part

NUM_BETAS = 10
PARENTS = (-1, *(parent for finger in range(5) for parent in (0, 3 * finger + 1, 3 * finger + 2)))
"""Of MANO's joints: the wrist, then index, middle, little, ring finger and thumb, three each."""


class Mano(PartModel):
    """MANO's arithmetic with absolute finger rotations (flat hand = identity).

    Args:
        v_template: [V 3] metres, of a right hand.
        shapedirs: [V 3 10].
        posedirs: [V 3 135].
        joint_regressor: [16 V].
        weights: [V 16].

    Source: MANO (Romero et al. 2017), Eq. 1-4; the arithmetic is SMPL's.
    """

    parents = PARENTS

    def forward(self, betas: Tensor, fingers: Tensor) -> tuple[Tensor, Tensor]:
        """Returns vertices [... V 3] and the rest wrist joint [... 3] of a hand that is not turned.

        Args:
            betas: [... 10].
            fingers: [... 15 3 3] relative to their parents.
        """
        rest = self.v_template + skinning.blend_shapes(betas, self.shapedirs)
        wrist = torch.eye(3).to(fingers).expand(*fingers.shape[:-3], 1, 3, 3)
        vertices, joints = self.posed(rest, torch.cat([wrist, fingers], -3))
        return vertices, joints[..., 0, :]


def load_mano(path: str | Path) -> Mano:
    """Reads `MANO_RIGHT.pkl` or an `.npz` of the same names; no code of the file runs.

    Raises:
        AssetError: missing, unreadable, or not a hand of MANO.
    """
    arrays = read_part(path, "MANO", PARENTS)
    return Mano(
        arrays["v_template"],
        arrays["shapedirs"][..., :NUM_BETAS],
        arrays["posedirs"],
        arrays["J_regressor"],
        arrays["weights"],
    )
