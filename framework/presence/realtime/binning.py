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

TILE = 16  # px a side, gsplat's
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


def bin_gaussians(
    centers: Tensor,
    radii: Tensor,
    depths: Tensor,
    near: Tensor,
    far: Tensor,
    *,
    height: int,
    width: int,
    capacity: int,
) -> Bins:
    """Sorts projected Gaussians into tiles without waiting for the GPU.

    Args:
        centers: [I N 2] px.
        radii: [I N 2] int32 px, 0 for Gaussians that are not drawn.
        depths: [I N] camera z, metres.
        near: [I] depth (m) that the order starts from; nearer ones are all alike.
        far: [I] depth (m) at which it ends.
        height: rows of the pictures.
        width: columns of the pictures.
        capacity: pairs of Gaussian and tile that there is room for, over all pictures.
    """
    from presence.realtime import binning_kernels as kernels

    images, points = depths.shape
    across, down = -(-width // TILE), -(-height // TILE) + 1  # one empty row below
    bits = depth_bits(images, across * down)
    splats, device = images * points, depths.device
    grid = (-(-splats // BLOCK),)
    counts = torch.empty(splats, dtype=torch.int32, device=device)
    centers, radii, depths = centers.contiguous(), radii.contiguous(), depths.contiguous()
    keys = torch.full((capacity,), 2**31 - 1, dtype=torch.int32, device=device)
    ids = torch.zeros(capacity, dtype=torch.int32, device=device)
    common = dict(TILE=TILE, BLOCK=BLOCK)
    with on_device(depths):
        kernels.count_tiles[grid](centers, radii, counts, splats, across, down - 1, **common)
        ends = counts.cumsum(0)
        kernels.list_tiles[grid](
            centers,
            radii,
            depths,
            ends,
            near.contiguous(),
            (1 / (far - near)).contiguous(),
            keys,
            ids,
            splats,
            points,
            across,
            down - 1,
            capacity,
            DEPTH_BITS=bits,
            **common,
        )
    keys, order = keys.sort(stable=True)
    return Bins(_offsets(keys, images, down, across, bits), ids[order], ends[-1])


def _offsets(keys: Tensor, images: int, down: int, across: int, bits: int) -> Tensor:
    """Returns [I down across]: the first pair of each tile, of the empty row the end."""
    tiles = images * (down - 1) * across
    starts = (torch.arange(tiles + 1, device=keys.device) << bits) - 2**31
    # Tile numbers stay below 2^(32 - bits): the bound behind the last one fits int32 too.
    found = torch.searchsorted(keys, starts.to(torch.int32), out_int32=True)
    per_image = found[:-1].view(images, (down - 1) * across)
    ends = found[(down - 1) * across :: (down - 1) * across]  # [I]
    below = ends[:, None].expand(images, across)
    return torch.cat([per_image, below], 1).view(images, down, across)


def bin_reference(
    centers: Tensor, radii: Tensor, depths: Tensor, *, height: int, width: int
) -> tuple[list[list[int]], int]:
    """The same in plain Python: Gaussian numbers of every tile (image by image), nearest first."""
    across, down = -(-width // TILE), -(-height // TILE)
    images, points = depths.shape
    bins: list[list[int]] = [[] for _ in range(images * across * down)]
    order = depths.argsort(dim=-1, stable=True)
    for image in range(images):
        for point in order[image].tolist():
            rx, ry = radii[image, point].tolist()
            x, y = centers[image, point].tolist()
            if rx <= 0 or ry <= 0:
                continue
            columns = range(max(int((x - rx) // TILE), 0), min(-int(-(x + rx) // TILE), across))
            rows = range(max(int((y - ry) // TILE), 0), min(-int(-(y + ry) // TILE), down))
            for row in rows:
                for column in columns:
                    bins[(image * down + row) * across + column].append(image * points + point)
    return bins, sum(len(b) for b in bins)
