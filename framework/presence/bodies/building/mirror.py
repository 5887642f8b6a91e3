"""The mirror image of each vertex, for a mesh that is symmetric up to small differences."""

from __future__ import annotations

import numpy as np


def mirror_vertices(rest: np.ndarray) -> np.ndarray:
    """Returns [V] an involution that maps each vertex to its image under x -> -x.

    Args:
        rest: [V 3] symmetric mesh.

    Raises:
        ValueError: the mesh has no such pairing.
    """
    from scipy.spatial import cKDTree

    image = rest * np.array([-1.0, 1.0, 1.0])
    _, nearest = cKDTree(rest).query(image)
    if not np.array_equal(nearest[nearest], np.arange(len(rest))):
        wrong = int((nearest[nearest] != np.arange(len(rest))).sum())
        raise ValueError(f"{wrong} vertices have no unique mirror image")
    return nearest
