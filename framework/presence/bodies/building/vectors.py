"""Vector arithmetic that the builder's steps share."""

from __future__ import annotations

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors [... 3] of length one; zeros stay zeros.

    Example:
        >>> unit(np.array([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])).tolist()
        [[0.0, 0.6, 0.8], [0.0, 0.0, 0.0]]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
