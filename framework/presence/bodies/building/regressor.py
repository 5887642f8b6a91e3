"""A sparse joint regressor: joints as affine combinations of nearby vertices."""

from __future__ import annotations

import numpy as np


def fit_joint_regressor(
    vertices: np.ndarray,
    joints: np.ndarray,
    *,
    neighbours: int = 96,
    reach: int = 800,
    ridge: float = 1e-6,
) -> np.ndarray:
    """Fits `joints = regressor @ vertices` over people.

    Every row sums to one, so that a moved person's joints move along, and stays close to equal
    weights over vertices around the joint, so that it extrapolates gently.

    Args:
        vertices: [N V 3] rest meshes, metres.
        joints: [N J 3] their joints, metres.
        neighbours: vertices that each joint uses.
        reach: how many of the nearest vertices those are spread over.
        ridge: pull towards equal weights, relative to the data's scale.

    Returns:
        [J V] regressor.
    """
    mean_vertices, mean_joints = vertices.mean(0), joints.mean(0)
    regressor = np.zeros((joints.shape[1], vertices.shape[1]))
    for joint, centre in enumerate(mean_joints):
        distance = np.linalg.norm(mean_vertices - centre, axis=1)
        near = np.argsort(distance)[:reach]
        chosen = near[_spread(mean_vertices[near], neighbours)]
        regressor[joint, chosen] = _affine_weights(
            vertices[:, chosen], joints[:, joint], mean_vertices[chosen], centre, ridge
        )
    return regressor


def _affine_weights(
    vertices: np.ndarray,
    joint: np.ndarray,
    mean_vertices: np.ndarray,
    mean_joint: np.ndarray,
    ridge: float,
) -> np.ndarray:
    """Solves min |A w - b|^2 + ridge |w - 1/n|^2 with sum(w) = 1 by its Lagrangian system."""
    count = vertices.shape[1]
    # The mean person counts for as much as all the variation, so that it is met closely.
    scale = np.sqrt(len(vertices))
    a = (vertices - mean_vertices).transpose(0, 2, 1).reshape(-1, count)
    a = np.concatenate([a, scale * (mean_vertices - mean_joint).T])
    b = np.concatenate([(joint - mean_joint).reshape(-1), np.zeros(3)])
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = a.T @ a + ridge * len(vertices) * np.eye(count)
    system[:count, count] = system[count, :count] = 1.0
    right = np.concatenate([a.T @ b + ridge * len(vertices) / count, [1.0]])
    return np.linalg.solve(system, right)[:count]


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Farthest-point sampling, starting from the first: indices [count]."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
