"""Solid noise for textures: a small periodic volume, made once by integer hashing, then sampled.

Looking noise up in a volume costs one fused kernel for all channels of an octave, where
evaluating gradient noise costs hundreds; on two CPU cores that decides what a picture can afford.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.synthesis.draws import hash_uniform

CHANNELS = ("smooth", "smooth2", "smooth3", "fractal", "cells", "grain")


class NoiseVolume(nn.Module):
    """A periodic cube of noise with `CHANNELS`, every one with mean 0 and deviation about 1.

    Channels: three independent gradient noises (one bump a unit cell), a sum of three octaves
    (the finest has one bump a cell), distance to scattered points (one a cell, for freckles,
    dots and prints), and white grain.

    Args:
        cells: unit cells along an edge before the volume repeats.
        texels: texels along a cell.
        seed: of the hash.
    """

    volume: Tensor

    def __init__(self, cells: int = 16, texels: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.cells = cells
        size = cells * texels
        channels = [_gradient_noise(cells, size, seed * 16 + k) for k in range(3)]
        octaves = [_gradient_noise(cells // 2**k, size, seed * 16 + 3 + k) for k in range(3)]
        channels.append(0.45 * octaves[0] + 0.65 * octaves[1] + octaves[2])
        channels.append(_cell_noise(cells, size, seed * 16 + 8))
        channels.append(_hash_grid(size, seed * 16 + 9)[..., 0])
        stacked = np.stack([(c - c.mean()) / c.std() for c in channels])
        padded = np.pad(stacked, ((0, 0), (0, 1), (0, 1), (0, 1)), mode="wrap")
        self.register_buffer(
            "volume", torch.from_numpy(padded.astype(np.float32)), persistent=False
        )

    def forward(self, points: Tensor, channels: slice | None = None) -> Tensor:
        """Samples the noise.

        Args:
            points: [3 P] in unit cells (a frequency times metres, plus an offset).
            channels: which of `CHANNELS`; all if None.

        Returns:
            [C P] noise values.
        """
        volume = self.volume if channels is None else self.volume[channels]
        wrapped = torch.remainder(points / self.cells, 1.0) * 2.0 - 1.0
        grid = wrapped.t().reshape(1, 1, 1, -1, 3)
        sampled = F.grid_sample(
            volume[None], grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        return sampled.reshape(volume.shape[0], -1)


def _hash_grid(size: int, seed: int) -> np.ndarray:
    """Returns [size size size 4] uniform numbers, hashed from position and seed."""
    index = np.arange(size**3 * 4, dtype=np.uint64) + (np.uint64(seed + 1) << np.uint64(40))
    return hash_uniform(index).reshape(size, size, size, 4)


def _gradient_noise(cells: int, size: int, seed: int) -> np.ndarray:
    """Periodic gradient noise [size size size] with `cells` lattice cells an edge (Perlin 2002)."""
    random = _hash_grid(cells, seed)
    up, turn = 2.0 * random[..., 0] - 1.0, 2.0 * np.pi * random[..., 1]
    radius = np.sqrt(np.maximum(1.0 - up**2, 0.0))
    gradients = np.stack([radius * np.cos(turn), radius * np.sin(turn), up], -1)
    position = np.arange(size) * (cells / size)
    base = np.floor(position).astype(np.int64)
    frac = position - base
    fade = frac**3 * (frac * (frac * 6.0 - 15.0) + 10.0)
    total = np.zeros((size, size, size))
    for corner in np.ndindex(2, 2, 2):
        index = [(base + c) % cells for c in corner]
        weight = [fade if c else 1.0 - fade for c in corner]
        offset = [frac - c for c in corner]
        g = gradients[np.ix_(*index)]
        dot = (
            g[..., 0] * offset[0][:, None, None]
            + g[..., 1] * offset[1][None, :, None]
            + g[..., 2] * offset[2][None, None, :]
        )
        total += dot * weight[0][:, None, None] * weight[1][None, :, None] * weight[2]
    return total


def _cell_noise(cells: int, size: int, seed: int) -> np.ndarray:
    """Periodic distance [size size size] to the nearest of one random point a cell (Worley)."""
    points = _hash_grid(cells, seed)[..., :3]
    axis = np.arange(size) * (cells / size)
    base = np.floor(axis).astype(np.int64)
    best = np.full((size, size, size), np.inf)
    for shift in np.ndindex(3, 3, 3):
        cell = [base + s - 1 for s in shift]
        found = points[np.ix_(*[c % cells for c in cell])]
        dx = found[..., 0] + (cell[0] - axis)[:, None, None]
        dy = found[..., 1] + (cell[1] - axis)[None, :, None]
        dz = found[..., 2] + (cell[2] - axis)[None, None, :]
        best = np.minimum(best, dx * dx + dy * dy + dz * dz)
    return np.sqrt(best)
