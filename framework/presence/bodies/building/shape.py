"""Shape components: a principal basis of bodies first, then one of faces and details."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ShapeBasis:
    """A linear shape space around an average person.

    Attributes:
        mean: [V 3] metres.
        directions: [V 3 S], scaled so that coefficients have unit variance over the
            population the components were learned from.
    """

    mean: np.ndarray
    directions: np.ndarray

    def fit(self, vertices: np.ndarray, components: int | None = None) -> np.ndarray:
        """Returns coefficients [N c] of the least-squares fit to vertices [N V 3]."""
        basis = self.directions[..., :components].reshape(self.mean.size, -1)
        offsets = (vertices - self.mean).reshape(len(vertices), -1)
        gram = basis.T @ basis
        return np.linalg.solve(gram, basis.T @ offsets.T).T

    def errors(self, vertices: np.ndarray, components: int | None = None) -> np.ndarray:
        """Returns [N] each person's mean vertex distance to the fit, metres."""
        coefficients = self.fit(vertices, components)
        basis = self.directions[..., :components].reshape(self.mean.size, -1)
        fitted = self.mean + (coefficients @ basis.T).reshape(vertices.shape)
        return np.linalg.norm(fitted - vertices, axis=-1).mean(-1)


def learn_shape(
    mean: np.ndarray,
    bodies: np.ndarray,
    details: np.ndarray,
    detail_weights: np.ndarray,
    *,
    num_bodies: int = 20,
    num_details: int,
) -> ShapeBasis:
    """Learns body-type components, then components of what they leave over.

    Args:
        mean: [V 3] the person with all coefficients zero.
        bodies: [N V 3] people that differ in body type only.
        details: [M V 3] people with local changes too.
        detail_weights: [V] how much each vertex counts for the later components.
        num_bodies: components learned from `bodies`.
        num_details: components learned from the residual of `details`.
    """
    body_directions = _principal(bodies - mean, np.ones(len(mean)), num_bodies)
    first = ShapeBasis(mean, body_directions)
    offsets = (details - mean).reshape(len(details), -1)
    basis = body_directions.reshape(mean.size, -1)
    residual = offsets - first.fit(details) @ basis.T
    detail_directions = _principal(residual.reshape(details.shape), detail_weights, num_details)
    directions = np.concatenate([body_directions, detail_directions], -1)
    return ShapeBasis(mean, directions)


def _principal(offsets: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Returns [V 3 count] weighted principal directions about zero, unit-variance scaled.

    Works on the samples' Gram matrix, which is far smaller than the vertices' covariance.
    """
    samples = len(offsets)
    flat = offsets.reshape(samples, -1)
    scaled = flat * np.repeat(np.sqrt(weights), 3).astype(flat.dtype)
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    order = np.argsort(values)[::-1][:count]
    # Left singular vectors of norm sqrt(N) have unit variance; the offsets regressed on them
    # are the directions.
    directions = flat.T @ (vectors[:, order] / np.sqrt(samples)).astype(flat.dtype)
    directions = directions * np.where(directions.sum(0) < 0, -1.0, 1.0)
    return directions.reshape(*offsets.shape[1:], -1)
