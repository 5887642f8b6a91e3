"""What models of one body part share: SMPL's arithmetic on the user's own file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from presence.bodies import skinning
from presence.bodies.data import dense, open_arrays
from presence.errors import AssetError

_NAMES = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")


class PartModel(nn.Module):
    """Blend shapes, pose correctives and linear blend skinning of a few joints.

    Args:
        v_template: [V 3] metres.
        shapedirs: [V 3 S].
        posedirs: [V 3 9 (J - 1)].
        joint_regressor: [J V].
        weights: [V J].

    Source: SMPL (Loper et al. 2015), Eq. 2-10.
    """

    parents: ClassVar[tuple[int, ...]]
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
            ("shapedirs", rows[0]),  # [S V*3]
            ("posedirs", rows[1]),  # [9 (J - 1) V*3]
            ("joint_regressor", joint_regressor),
            ("weights", weights),
        ):
            self.register_buffer(name, value.float(), persistent=False)

    def posed(self, rest: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Poses rest vertices [... V 3] by rotations [... J 3 3] relative to the parents.

        Returns:
            vertices [... V 3] and rest joints [... J 3].
        """
        joints = self.joint_regressor @ rest
        world, positions = skinning.forward_kinematics(rotations, joints, self.parents)
        transforms = skinning.posed_from_rest(world, positions, joints)
        bent = (rotations[..., 1:, :, :] - torch.eye(3).to(rotations)).flatten(-3)
        corrected = rest + skinning.blend_shapes(bent, self.posedirs)
        return skinning.skin(corrected, transforms, self.weights)[0], joints


def read_part(
    path: str | Path, model: str, parents: Sequence[int], names: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Reads the arrays of a part model from a `.pkl` or `.npz`; no code of the file runs.

    Args:
        path: of the file.
        model: its kind, for errors.
        parents: what its joints have to hang on.
        names: arrays wanted besides those of `PartModel`.

    Returns:
        name to float64 tensor.

    Raises:
        AssetError: missing, unreadable, or not of that kind.
    """
    path = Path(path)
    arrays = open_arrays(path)
    for name in (*_NAMES, *names, "kintree_table"):
        if name not in arrays:
            raise AssetError(f"{path} is not a {model} file: it has no `{name}`")
    found = np.asarray(arrays["kintree_table"])[0].astype(np.int64).copy()
    found[0] = -1
    if tuple(found) != tuple(parents):
        raise AssetError(f"{path} is not a {model} file: its joints hang on {found.tolist()}")
    return {
        name: torch.from_numpy(dense(arrays[name]).astype(np.float64)) for name in (*_NAMES, *names)
    }
