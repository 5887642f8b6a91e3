"""Tiles' lists of Gaussians beside plain loops."""

import pytest
import torch
from interpreted import run_interpreted

from presence.realtime.binning import TILE, bin_gaussians, bin_reference, depth_bits

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CASES = [(1, 300, 64, 80), (3, 200, 50, 40)]


def check(images, points, height, width, device):
    generator = torch.Generator().manual_seed(points)
    spread = torch.tensor([width * 1.4, height * 1.4])
    centers = torch.rand(images, points, 2, generator=generator) * spread - 10
    radii = torch.randint(0, 20, (images, points, 2), generator=generator, dtype=torch.int32)
    depths = torch.stack([torch.randperm(points, generator=generator) for _ in range(images)])
    depths = 1 + depths / points
    limits = torch.full((images,), 1.0, device=device), torch.full((images,), 2.0, device=device)
    wanted, needed = bin_reference(centers, radii, depths, height=height, width=width)
    given = (centers.to(device), radii.to(device), depths.to(device), *limits)
    size = dict(height=height, width=width)
    bins = bin_gaussians(*given, **size, capacity=needed + 91)
    assert int(bins.needed) == needed
    assert _lists(bins, needed) == wanted
    short = bin_gaussians(*given, **size, capacity=needed // 2)
    assert int(short.needed) == needed  # says so, and keeps a part of the right pairs
    kept = [set(got) <= set(all_) for got, all_ in zip(_lists(short, needed // 2), wanted)]
    assert all(kept)


def _lists(bins, end):
    images, rows, columns = bins.offsets.shape
    starts = [*bins.offsets.flatten().tolist(), end]
    ids = bins.ids.tolist()
    lists = []
    for tile in range(images * rows * columns):
        inside = tile // columns % rows < rows - 1  # the last row lies below the picture
        part = ids[starts[tile] : starts[tile + 1]]
        if inside:
            lists.append(part)
        elif tile + 1 < images * rows * columns:
            assert not part
    return lists


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("case", [*CASES, (8, 3000, 512, 512)])
def test_on_the_gpu(case):
    check(*case, "cuda")


def test_in_the_interpreter():
    run_interpreted(
        "import test_binning as tests\nfor case in tests.CASES: tests.check(*case, 'cpu')"
    )


def test_a_key_holds_every_tile_and_enough_depth():
    for images in (1, 8, 64):
        tiles = (512 // TILE) * (512 // TILE + 1)
        assert images * tiles < 2 ** (32 - depth_bits(images, tiles))
    with pytest.raises(ValueError, match="bits for depth"):
        depth_bits(1024, 2048)
