"""Numba kernels that list, for every tile of the picture, its Gaussians from front to back."""

from __future__ import annotations

import numpy as np
from numba import njit

_DIGIT_BITS = 11  # Three passes of 11 bits cover a 32-bit key.
_DIGITS = 1 << _DIGIT_BITS


@njit(nogil=True, cache=True)
def depth_order(keys: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """Sorts the Gaussians that touch a tile by depth; equal depths keep their order.

    Args:
        keys: [N] uint32, the bits of positive float32 depths (these order as the floats do).
        tiles: [N 4] int32 from `projection.project_forward`.

    Returns:
        Their indices [V] int32, nearest first (stable least-significant-digit radix sort).
    """
    count = 0
    source = np.empty(len(keys), np.int32)
    for i in range(len(keys)):
        if tiles[i, 1] > tiles[i, 0]:
            source[count] = i
            count += 1
    source = source[:count]
    target = np.empty(count, np.int32)
    for digit in range(3):
        shift = np.uint32(digit * _DIGIT_BITS)
        starts = np.zeros(_DIGITS + 1, np.int64)
        for i in source:
            starts[((keys[i] >> shift) & np.uint32(_DIGITS - 1)) + 1] += 1
        starts = np.cumsum(starts)
        for i in source:
            value = (keys[i] >> shift) & np.uint32(_DIGITS - 1)
            target[starts[value]] = i
            starts[value] += 1
        source, target = target, source
    return source


@njit(nogil=True, cache=True)
def tile_lists(
    order: np.ndarray, tiles: np.ndarray, columns: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distributes Gaussians over the tiles that they touch, keeping their order.

    Args:
        order: [V] int32 from `depth_order`.
        tiles: [N 4] int32 from `projection.project_forward`.
        columns: tiles across the picture.
        rows: tiles down the picture.

    Returns:
        offsets: [rows * columns + 1] int64; tile t holds entries offsets[t]..offsets[t + 1].
        ids: [M] int32, Gaussians, nearest first within a tile.
    """
    offsets = np.zeros(rows * columns + 1, np.int64)
    for i in range(len(tiles)):
        for row in range(tiles[i, 2], tiles[i, 3]):
            for column in range(tiles[i, 0], tiles[i, 1]):
                offsets[row * columns + column + 1] += 1
    offsets = np.cumsum(offsets)
    ids = np.empty(offsets[-1], np.int32)
    heads = offsets[:-1].copy()
    for i in order:
        for row in range(tiles[i, 2], tiles[i, 3]):
            for column in range(tiles[i, 0], tiles[i, 1]):
                tile = row * columns + column
                ids[heads[tile]] = i
                heads[tile] += 1
    return offsets, ids
