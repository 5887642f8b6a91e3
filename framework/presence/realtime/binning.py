"""Which Gaussians lie in which tile, in depth order, in buffers whose size never changes.

gsplat 1.5 counts the pairs of Gaussians and tiles, waits until the host knows the number, and then
sizes its buffers, so its frames cannot be recorded into a CUDA graph. Here the host gives an upper
bound instead. The result is what gsplat's compositing kernel takes: offsets and Gaussian numbers.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from presence.realtime.posing import on_device

BLOCK = 256


@dataclasses.dataclass(frozen=True)
class Bins:
    """Gaussians by tile.

    Attributes:
        offsets: [I rows+1 columns] int32, where each tile's Gaussians start in `ids`. The last
            row of tiles lies below the picture and is empty of pixels: it starts where the
            picture's Gaussians end, so that unused places behind them are never drawn.
        ids: [capacity] int32, row of each Gaussian in [I*N], nearest first within a tile.
        needed: [] int64, pairs that there were; more than `capacity` means that some are missing.
    """

    offsets: Tensor
    ids: Tensor
    needed: Tensor


def depth_bits(images: int, tiles: int) -> int:
    """Returns how many of a key's 32 bits are left for depth.

    Raises:
        ValueError: fewer than 12, so that depth order would suffer.

    Example:
        >>> depth_bits(1, 32 * 33), depth_bits(8, 32 * 33)
        (21, 18)
    """
    bits = 32 - (images * tiles).bit_length()
    if bits < 12:
        raise ValueError(f"{images} pictures of {tiles} tiles leave {bits} bits for depth")
    return bits


def pick_tile(images: int, height: int, width: int) -> int:
    """Returns 8 px, or 16 px where so many small tiles would leave depth fewer than 16 bits.

    Example:
        >>> pick_tile(8, 512, 512), pick_tile(64, 1024, 1024)
        (8, 16)
    """
    tiles = images * -(-width // 8) * (-(-height // 8) + 1)
    return 8 if 32 - tiles.bit_length() >= 16 else 16


def bin_gaussians(
    centers: Tensor,
    radii: Tensor,
    conics: Tensor,
    opacities: Tensor,
    depths: Tensor,
    near: Tensor,
    far: Tensor,
    *,
    height: int,
    width: int,
    capacity: int,
    tile: int = 16,
) -> Bins:
    """Sorts projected Gaussians into tiles without waiting for the GPU.

    A Gaussian belongs to the tiles of its box in which its ellipse of alpha = 1/255 holds a pixel
    centre, or nearly does (Speedy-Splat, Hanson et al. 2025, has the idea): others it cannot tint.

    Args:
        centers: [I N 2] px.
        radii: [I N 2] int32 px, 0 for Gaussians that are not drawn.
        conics: [I N 3] px^-2, a, b, c of sigma = (a x^2 + c y^2) / 2 + b x y.
        opacities: [I N].
        depths: [I N] camera z, metres.
        near: [I] depth (m) that the order starts from; nearer ones are all alike.
        far: [I] depth (m) at which it ends.
        height: rows of the pictures.
        width: columns of the pictures.
        capacity: pairs of Gaussian and tile that there is room for, over all pictures.
        tile: side of a tile, px.
    """
    from presence.realtime import binning_kernels as kernels

    images, points = depths.shape
    across, down = -(-width // tile), -(-height // tile)
    tiles = images * across * (down + 1)  # one empty row below each picture
    bits = depth_bits(images, across * (down + 1))
    splats, device = images * points, depths.device
    counts, keys, ids, sorted_ids = (
        torch.empty(size, dtype=torch.int32, device=device)
        for size in (splats, capacity, capacity, capacity)
    )
    offsets = torch.empty(images, down + 1, across, dtype=torch.int32, device=device)
    boxes = centers.contiguous(), radii.contiguous(), conics.contiguous(), opacities.contiguous()
    with on_device(depths):
        kernels.count_tiles[(-(-splats // BLOCK),)](
            *boxes, counts, splats, across, down, TILE=tile, BLOCK=BLOCK
        )
        ends = counts.cumsum(0)
        kernels.list_tiles[(-(-max(splats, capacity) // BLOCK),)](
            *boxes,
            depths.contiguous(),
            ends,
            near.contiguous(),
            far.contiguous(),
            keys,
            ids,
            splats,
            points,
            across,
            down,
            capacity,
            DEPTH_BITS=bits,
            TILE=tile,
            BLOCK=BLOCK,
        )
        keys, order = keys.sort(stable=True)
        kernels.finish_lists[(-(-max(tiles, capacity) // BLOCK),)](
            keys,
            order,
            ids,
            sorted_ids,
            offsets,
            capacity,
            tiles,
            DEPTH_BITS=bits,
            STEPS=capacity.bit_length(),
            BLOCK=BLOCK,
        )
    return Bins(offsets, sorted_ids, ends[-1])


def depth_range(
    rows: Tensor, views: Tensor, *, nearest: float, margin: float
) -> tuple[Tensor, Tensor]:
    """Returns the nearest and farthest camera z [I] of posed vertices, widened by a margin.

    Args:
        rows: [I V 8], positions first, see `pose_kernels`.
        views: [I 4 4] cam_from_world.
        nearest: smallest near depth, metres.
        margin: metres around the vertices.
    """
    from presence.realtime import binning_kernels as kernels

    images, vertices = rows.shape[:2]
    near, far = rows.new_empty(images), rows.new_empty(images)
    with on_device(rows):
        kernels.depth_range[(images,)](
            rows, views.contiguous(), near, far, vertices, nearest, margin, BLOCK=1024, num_warps=8
        )
    return near, far


def bin_reference(
    centers: Tensor, radii: Tensor, depths: Tensor, *, height: int, width: int, tile: int = 16
) -> tuple[list[list[int]], int]:
    """Boxes alone, in plain Python: the Gaussians of every tile, image by image, nearest first."""
    across, down = -(-width // tile), -(-height // tile)
    images, points = depths.shape
    bins: list[list[int]] = [[] for _ in range(images * across * down)]
    order = depths.argsort(dim=-1, stable=True)
    for image in range(images):
        for point in order[image].tolist():
            rx, ry = radii[image, point].tolist()
            x, y = centers[image, point].tolist()
            if rx <= 0 or ry <= 0:
                continue
            columns = range(max(int((x - rx) // tile), 0), min(-int(-(x + rx) // tile), across))
            rows = range(max(int((y - ry) // tile), 0), min(-int(-(y + ry) // tile), down))
            for row in rows:
                for column in columns:
                    bins[(image * down + row) * across + column].append(image * points + point)
    return bins, sum(len(b) for b in bins)
