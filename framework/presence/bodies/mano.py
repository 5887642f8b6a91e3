"""`Mano`: the right hand's model from the user's own MANO file; a left hand is its mirror image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from presence.bodies import skinning
from presence.bodies.data import dense, open_arrays
from presence.errors import AssetError

NUM_BETAS = 10
PARENTS = (-1, *(parent for finger in range(5) for parent in (0, 3 * finger + 1, 3 * finger + 2)))
"""Of MANO's joints: the wrist, then index, middle, little, ring finger and thumb, three each."""
_REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


class Mano(nn.Module):
    """MANO's arithmetic with absolute finger rotations (flat hand = identity).

    Args:
        v_template: [V 3] metres, of a right hand.
        shapedirs: [V 3 10].
        posedirs: [V 3 135].
        joint_regressor: [16 V].
        weights: [V 16].

    Source: MANO (Romero et al. 2017), Eq. 1-4; the arithmetic is SMPL's.
    """

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    joint_regressor: Tensor
    weights: Tensor

    def __init__(
        self,
        v_template: Tensor,
        shapedirs: Tensor,
        posedirs: Tensor,
        joint_regressor: Tensor,
        weights: Tensor,
    ) -> None:
        super().__init__()
        rows = [directions.flatten(0, 1).T.contiguous() for directions in (shapedirs, posedirs)]
        for name, value in (
            ("v_template", v_template),
            ("shapedirs", rows[0]),  # [10 V*3]
            ("posedirs", rows[1]),  # [135 V*3]
            ("joint_regressor", joint_regressor),
            ("weights", weights),
        ):
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, betas: Tensor, fingers: Tensor) -> tuple[Tensor, Tensor]:
        """Returns vertices [... V 3] and the rest wrist joint [... 3] of a hand that is not turned.

        Args:
            betas: [... 10].
            fingers: [... 15 3 3] relative to their parents.
        """
        rest = self.v_template + skinning.blend_shapes(betas, self.shapedirs)
        joints = self.joint_regressor @ rest
        identity = torch.eye(3).to(fingers)
        bent = (fingers - identity).flatten(-3)  # [... 135]
        wrist = identity.expand(*fingers.shape[:-3], 1, 3, 3)
        rotations = torch.cat([wrist, fingers], -3)
        world, positions = skinning.forward_kinematics(rotations, joints, PARENTS)
        transforms = skinning.posed_from_rest(world, positions, joints)
        corrected = rest + skinning.blend_shapes(bent, self.posedirs)
        return skinning.skin(corrected, transforms, self.weights)[0], joints[..., 0, :]


def load_mano(path: str | Path) -> Mano:
    """Reads `MANO_RIGHT.pkl` or an `.npz` of the same names; no code of the file runs.

    Raises:
        AssetError: missing, unreadable, or not a hand of MANO.
    """
    path = Path(path)
    arrays = open_arrays(path)
    for name in _REQUIRED:
        if name not in arrays:
            raise AssetError(f"{path} is not a MANO file: it has no `{name}`")
    parents = np.asarray(arrays["kintree_table"])[0].astype(np.int64).copy()
    parents[0] = -1
    if tuple(parents) != PARENTS:
        raise AssetError(f"{path} is not a MANO file: its joints hang on {parents.tolist()}")

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(dense(arrays[name]).astype(np.float64))

    return Mano(
        tensor("v_template"),
        tensor("shapedirs")[..., :NUM_BETAS],
        tensor("posedirs"),
        tensor("J_regressor"),
        tensor("weights"),
    )
