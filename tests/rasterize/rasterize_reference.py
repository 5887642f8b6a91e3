"""Slow, independent answers to compare rasterizers with: float64 rays against every face."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

FOCAL = 60.0


def project(points: Tensor, height: int, width: int) -> Tensor:
    """Camera space [... 3] to (x px, y px, camera z) through a pinhole of focal length `FOCAL`."""
    x, y, z = points.unbind(-1)
    return torch.stack([FOCAL * x / z + width / 2, FOCAL * y / z + height / 2, z], dim=-1)


@dataclasses.dataclass
class Hits:
    """The nearest face of every pixel; `certain` leaves out edges, and depths nearly equal."""

    face_ids: np.ndarray
    barycentrics: np.ndarray
    depth: np.ndarray
    certain: np.ndarray


def cast_rays(
    points: Tensor, faces: Tensor, height: int, width: int, *, cull: bool, orthographic: bool
) -> Hits:
    """Intersects the ray of each pixel centre with each face, in space and in float64.

    Perspective: `points` [V 3] in camera space, rays from the origin. Orthographic: `points`
    in (px, px, z), rays along z. Faces are solved as planes (Moeller-Trumbore), so that nothing
    is shared with rasterizers that work on the screen.
    """
    corners = points.double().numpy()[faces.numpy()]  # [F, 3, 3]
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    flat, one = np.stack([columns, rows], -1).reshape(-1, 2), np.ones((height * width, 1))
    if orthographic:
        origins, rays = np.concatenate([flat, 0 * one], 1), np.concatenate([0 * flat, one], 1)
    else:
        slopes = (flat - [width / 2, height / 2]) / FOCAL
        origins, rays = np.zeros((height * width, 3)), np.concatenate([slopes, one], 1)
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cross = np.cross(rays[:, None], ac[None])  # [P, F, 3]
    det = (cross * ab).sum(-1)
    away = origins[:, None] - a
    with np.errstate(divide="ignore", invalid="ignore"):
        v = (away * cross).sum(-1) / det
        turned = np.cross(away, ab[None])
        w = (turned * rays[:, None]).sum(-1) / det
        z = (turned * ac).sum(-1) / det  # the rays' z is 1
    weights = np.stack([1 - v - w, v, w], -1)  # [P, F, 3]
    # det > 0 is a ray against the normal: the outside of a counter-clockwise face.
    facing = (det > 0) if cull else (det != 0)
    inside = facing & (weights >= 0).all(-1)
    depth = np.where(inside, z, np.inf)
    order = np.argsort(depth, axis=1, kind="stable")
    first = order[:, 0]
    pixels = np.arange(len(first))
    nearest = depth[pixels, first]
    ids = np.where(np.isfinite(nearest), first, -1)
    second = depth[pixels, order[:, 1]] if depth.shape[1] > 1 else np.full_like(nearest, np.inf)
    near_edge = (facing & (np.abs(weights).min(-1) < 2e-3) & (weights > -2e-3).all(-1)).any(1)
    with np.errstate(invalid="ignore"):
        tied = np.isfinite(second) & (second - nearest < 1e-4)
    shape = (height, width)
    return Hits(
        ids.reshape(shape),
        np.where(ids[:, None] >= 0, weights[pixels, first], 0).reshape(*shape, 3),
        nearest.reshape(shape),
        ~(near_edge | tied).reshape(shape),
    )


def covered(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Says which centres a face on a half-pixel lattice owns, ties included: [H W] bool.

    The top-left rule is what comes out when every centre moves right by an infinitesimal and
    down by its square. On this lattice 2^-10 px is infinitesimal enough to be exact in float64.
    """
    step = 2.0**-10
    columns, rows = np.meshgrid(
        np.arange(width) + 0.5 + step, np.arange(height) + 0.5 + step * step
    )
    signs = []
    for k in range(3):
        (xa, ya), (xb, yb) = corners[k], corners[(k + 1) % 3]
        signs.append((xb - xa) * (rows - ya) - (yb - ya) * (columns - xa))
    signs = np.stack(signs)
    return (signs > 0).all(0) | (signs < 0).all(0)


def random_soup(seed: int, batch: int, faces: int, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Random faces in front of a camera: points [B 3F 3] in camera space and faces [F 3]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(batch, faces, 1, 3, generator=generator) - 0.5
    points = centres * 2 + (torch.rand(batch, faces, 3, 3, generator=generator) - 0.5) * spread
    points[..., 2] += 2.5
    return points.flatten(1, 2), torch.arange(3 * faces).reshape(faces, 3)


def sphere(subdivisions: int = 4) -> tuple[Tensor, Tensor]:
    """A unit sphere around (0, 0, 4) in OpenCV camera axes, faces counter-clockwise outside."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions)
    points = torch.tensor(np.array(mesh.vertices), dtype=torch.float32)
    return points + torch.tensor([0.0, 0.0, 4.0]), torch.tensor(np.array(mesh.faces))
