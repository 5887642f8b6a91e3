"""Rotations as OSX and PIXIE write them, and those of a left hand seen in a mirror."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.geometry import rotation_6d_to_matrix


def matrix_from_rows(six: Tensor) -> Tensor:
    """Converts six numbers [... 6], the first two columns row by row, to rotations [... 3 3].

    HaMeR and Multi-HMR write the same six numbers column by column.

    Example:
        >>> matrix_from_rows(torch.tensor([1.0, 0, 0, 1, 0, 0])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return rotation_6d_to_matrix(torch.cat([six[..., 0::2], six[..., 1::2]], -1))


def mirrored(rotation: Tensor) -> Tensor:
    """Returns rotations [... 3 3] as they look in a mirror across x: (x, y, z) to (x, -y, -z)."""
    signs = rotation.new_tensor([-1.0, 1.0, 1.0])
    return signs[:, None] * rotation * signs
