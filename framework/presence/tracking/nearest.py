"""Nearest points in space: on triangles, and to many points at once."""

from __future__ import annotations

import numpy as np


def geometric_median(points: np.ndarray, iterations: int = 50) -> np.ndarray:
    """Returns the point of least summed distance to `points` [N 3] (Weiszfeld's iteration)."""
    centre = np.median(points, 0)
    for _ in range(iterations):
        weights = 1.0 / np.maximum(np.linalg.norm(points - centre, axis=1), 1e-7)
        centre = (weights[:, None] * points).sum(0) / weights.sum()
    return centre


def closest_on_triangles(point: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the closest point of each triangle.

    Args:
        point: [3].
        corners: [F 3 3].

    Returns:
        barycentrics [F 3] and distances [F].
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    options = [_on_plane(point, a, b, c)]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, second] - corners[:, first]
        length = np.maximum((edge * edge).sum(-1), 1e-20)
        along = np.clip(((point - corners[:, first]) * edge).sum(-1) / length, 0, 1)
        bary = np.zeros((len(corners), 3))
        bary[:, first], bary[:, second] = 1 - along, along
        options.append(bary)
    gaps = [
        np.where(
            (bary >= -1e-12).all(-1),
            np.linalg.norm((corners * bary[..., None]).sum(1) - point, axis=-1),
            np.inf,
        )
        for bary in options
    ]
    best = np.argmin(gaps, 0)
    rows = np.arange(len(corners))
    return np.stack(options)[best, rows], np.stack(gaps)[best, rows]


def _on_plane(point: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Barycentrics [F 3] of the point's foot on each triangle's plane."""
    u, v, w = b - a, c - a, point - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    scale = np.maximum(uu * vv - uv * uv, 1e-30)
    beta, gamma = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    return np.stack([1 - beta - gamma, beta, gamma], -1)
