"""What a mask says about a body's outline, as residuals: stay inside, and fill its width."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from presence.tracking.solver import Term

_SIDE = 256  # px, long side at which distances are measured
_EDGE_ON = 0.5  # cosine to the line of sight below which a body point may be on the outline
_SAME_WAY = 0.75  # cosine between the two outlines' normals from which they may be paired


class SilhouetteTarget:
    """Distances to a person's mask, sampled bilinearly, and points of its contour.

    Args:
        alpha: [H W] float in 0..1.
    """

    def __init__(self, alpha: np.ndarray) -> None:
        import cv2

        height, width = alpha.shape
        self.scale = _SIDE / max(height, width)
        size = (max(round(width * self.scale), 2), max(round(height * self.scale), 2))
        small = cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        inside = (small > 0.5).astype(np.uint8)
        # Sharp pixels would give steps: distances from both sides make one smooth slope.
        outward = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
        inward = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
        # A mask that is full or empty has no boundary to be far from: a finite distance stands in.
        signed = np.where(inside > 0, 0.5 - inward, outward - 0.5).clip(-_SIDE, _SIDE)
        self.signed = torch.from_numpy(signed.astype(np.float64) / self.scale)  # px of the picture
        self.contour, self.normals = self._contour(inside, signed)

    def _contour(self, inside: np.ndarray, signed: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mask boundary points [M 2] (picture px) with outward normals; not the picture's rim."""
        import cv2

        rows, columns = np.nonzero((inside > 0) & (signed > -0.6))
        height, width = inside.shape
        rim = 3
        kept = (rows >= rim) & (rows < height - rim) & (columns >= rim) & (columns < width - rim)
        rows, columns = rows[kept], columns[kept]
        smooth = cv2.GaussianBlur(signed, (0, 0), 2.0)
        slope_y, slope_x = np.gradient(smooth)
        normals = np.stack([slope_x[rows, columns], slope_y[rows, columns]], -1)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
        points = (np.stack([columns, rows], -1) + 0.5) / self.scale
        return torch.from_numpy(points.astype(np.float64)), torch.from_numpy(
            normals.astype(np.float64)
        )

    def distance(self, px: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Samples the signed distance (px, positive outside) at picture points [N 2].

        Returns:
            distances [N], gradients [N 2], and whether each point lies in the picture [N].
        """
        height, width = self.signed.shape
        at = px * self.scale - 0.5
        limit = torch.tensor([width - 1.001, height - 1.001], dtype=at.dtype)
        within = ((at >= 0) & (at <= limit)).all(-1)
        held = at.clamp(min=0).minimum(limit)
        corner = held.floor().long()
        u, v = (held - corner).unbind(-1)
        x, y = corner.unbind(-1)
        a, b = self.signed[y, x], self.signed[y, x + 1]
        c, d = self.signed[y + 1, x], self.signed[y + 1, x + 1]
        value = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
        slope = torch.stack([(1 - v) * (b - a) + v * (d - c), (1 - u) * (c - a) + u * (d - b)], -1)
        return value, slope * self.scale, within

    def inside_term(self, px: Tensor, jacobian: Tensor | None, sigma: float) -> Term:
        """Body points [N 2] that lie outside the mask, in units of `sigma` px."""
        value, slope, within = self.distance(px)
        outside = within & (value > 0)
        moved = None
        if jacobian is not None:
            moved = (slope[:, None, :] @ jacobian) * outside[:, None, None] / sigma
        residuals = (value * outside / sigma)[:, None]
        return Term(residuals, moved, outside.to(px.dtype), 10.0)

    def width_term(
        self, px: Tensor, jacobian: Tensor | None, pairs: Tensor, contour: Tensor, sigma: float
    ) -> Term:
        """Gaps between contour points and the body points paired with them, along the normal.

        Args:
            px: [N 2] projected body points.
            jacobian: [N 2 P] or None.
            pairs: [M] body point of each contour point.
            contour: [M] indices of contour points.
            sigma: px.
        """
        normals = self.normals[contour]
        gaps = ((px[pairs] - self.contour[contour]) * normals).sum(-1, keepdim=True) / sigma
        moved = None
        if jacobian is not None:
            moved = (normals[:, None, :] @ jacobian[pairs]) / sigma
        return Term(gaps, moved, torch.ones(len(pairs), dtype=px.dtype), 2.0)

    def pair(
        self,
        px: Tensor,
        normals: Tensor,
        reach: float,
        count: int,
        avoid: tuple[Tensor, float],
    ) -> tuple[Tensor, Tensor]:
        """Pairs contour points with the nearest body points whose outlines face the same way.

        Args:
            px: [N 2] projected body points.
            normals: [N 3] their normals in the camera's axes (z towards the scene); only points
                seen edge-on can be on the outline.
            reach: px, the farthest that a pair may be apart.
            count: about how many contour points to look at, evenly chosen.
            avoid: centre [2] and radius (px) of a disk whose contour points stay unpaired.

        Returns:
            body point [M] and contour point [M] indices.
        """
        step = max(len(self.contour) // count, 1)
        chosen = torch.arange(0, len(self.contour), step)
        chosen = chosen[(self.contour[chosen] - avoid[0]).norm(dim=-1) > avoid[1]]
        rim = torch.nonzero(normals[:, 2].abs() < _EDGE_ON)[:, 0]
        if len(chosen) == 0 or len(rim) == 0:
            return chosen[:0], chosen[:0]
        gaps = torch.cdist(self.contour[chosen], px[rim])  # [M R]
        outward = torch.nn.functional.normalize(normals[rim, :2], dim=-1)
        agree = self.normals[chosen] @ outward.T > _SAME_WAY
        best, nearest = torch.where(agree, gaps, torch.inf).min(-1)
        kept = best < reach
        return rim[nearest[kept]], chosen[kept]
