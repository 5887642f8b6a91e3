"""Tiles' lists of Gaussians beside plain loops."""

import pytest
import torch

from presence.realtime.binning import bin_gaussians, bin_reference, depth_bits, depth_range

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CASES = [(1, 300, 64, 80, 16), (3, 200, 50, 40, 8)]


def scene(images, points, height, width):
    """Centres, boxes of alpha = 1/255, conics, opacities and depths, no two alike."""
    generator = torch.Generator().manual_seed(points)

    def uniform(*shape):
        return torch.rand(images, points, *shape, generator=generator)

    centers = uniform(2) * torch.tensor([width * 1.4, height * 1.4]) - 10
    turn, long, thin = 3.2 * uniform(), 0.5 + 8 * uniform().square(), 0.3 + uniform()
    along = torch.stack([turn.cos(), turn.sin()], -1)
    across = torch.stack([-turn.sin(), turn.cos()], -1)
    axes = torch.stack([along * long[..., None], across * thin[..., None]], -1)
    covariance = axes @ axes.transpose(-1, -2)
    opacities = 0.02 + 0.97 * uniform()
    reach = (2 * (255 * opacities).log()).sqrt()[..., None]
    radii = (reach * covariance.diagonal(dim1=-2, dim2=-1).sqrt()).ceil().int()
    radii[:, ::7] = 0  # not drawn
    inverse = torch.linalg.inv(covariance)
    conics = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], -1)
    depths = torch.stack([torch.randperm(points, generator=generator) for _ in range(images)])
    return centers, radii, conics, opacities, 1 + depths / points


def tinted(scene, height, width, tile):
    """The Gaussians of every tile that reach alpha = 1/255 at one of its pixels, by trying all."""
    centers, radii, conics, opacities, _ = (value.flatten(0, 1) for value in scene)
    rows, columns = -(-height // tile), -(-width // tile)
    grid = torch.meshgrid(torch.arange(rows * tile), torch.arange(columns * tile), indexing="ij")
    y, x = (axis.flatten() + 0.5 for axis in grid)
    dx, dy = x - centers[:, :1], y - centers[:, 1:]
    a, b, c = conics[:, :, None].unbind(1)
    alpha = opacities[:, None] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    seen = (alpha >= 1 / 255) & (radii > 0).all(-1, keepdim=True)
    seen = seen.view(-1, rows, tile, columns, tile).any(-1).any(2)  # [I*N rows columns]
    images, points = scene[4].shape
    seen = seen.view(images, points, rows * columns).transpose(1, 2).flatten(0, 1)
    return [
        {int(n) + points * (tile_ // (rows * columns)) for n in inside.nonzero()[:, 0]}
        for tile_, inside in enumerate(seen)
    ]


def check(images, points, height, width, tile, device):
    given = scene(images, points, height, width)
    size = dict(height=height, width=width, tile=tile)
    boxes, upper = bin_reference(given[0], given[1], given[4], **size)
    needed = tinted(given, **size)
    inputs = [value.to(device) for value in given]
    limits = torch.full((images,), 1.0, device=device), torch.full((images,), 2.0, device=device)
    bins = bin_gaussians(*inputs, *limits, **size, capacity=upper + 91)
    count = int(bins.needed)
    found = _lists(bins, count)
    assert sum(map(len, found)) == count < 0.9 * upper
    for got, all_, must in zip(found, boxes, needed, strict=True):
        assert got == [point for point in all_ if point in set(got)]  # nearest first
        assert must <= set(got)
    short = bin_gaussians(*inputs, *limits, **size, capacity=count // 2)
    assert int(short.needed) == count  # says so, and keeps a part of the right pairs
    kept = [set(part) <= set(got) for part, got in zip(_lists(short, count // 2), found)]
    assert all(kept)


def check_depths(device):
    """The range of depths beside torch, for views that look along an axis and aslant."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 1500, 8, generator=generator).to(device)
    views = torch.randn(3, 4, 4, generator=generator).to(device)
    views[:, 2, 3] = torch.tensor([9.0, 2.0, -40.0])
    depth = (rows[..., :3] * views[:, None, 2, :3]).sum(-1) + views[:, 2, 3, None]
    near, far = depth_range(rows, views, nearest=0.1, margin=0.5)
    wanted = (depth.amin(1) - 0.5).clamp_min(0.1)
    torch.testing.assert_close(near, wanted, atol=3e-5, rtol=0)
    torch.testing.assert_close(far, (depth.amax(1) + 0.5).maximum(wanted + 0.5), atol=3e-5, rtol=0)


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
@pytest.mark.parametrize("case", [*CASES, (8, 300, 300, 312, 8)])
def test_on_the_gpu(case):
    check(*case, "cuda")
    check_depths("cuda")


def test_in_the_interpreter(run_interpreted):
    run_interpreted(
        "import test_binning as tests\nfor case in tests.CASES: tests.check(*case, 'cpu')\n"
        "tests.check_depths('cpu')"
    )


def test_a_key_holds_every_tile_and_enough_depth():
    for images, tile in ((1, 16), (8, 16), (64, 16), (1, 8), (8, 8)):
        tiles = (512 // tile) * (512 // tile + 1)
        assert images * tiles < 2 ** (32 - depth_bits(images, tiles))
    with pytest.raises(ValueError, match="bits for depth"):
        depth_bits(1024, 2048)
