"""Compositing of tiles' lists beside a loop over pixels and Gaussians."""

import pytest
import torch
from test_binning import scene

from presence.realtime.binning import bin_gaussians
from presence.realtime.compositing import composite_bins

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CASES = [(1, 300, 22, 27, 8, 16), (2, 500, 20, 24, 16, 32)]


def reference(centers, radii, conics, opacities, depths, colors, background, height, width):
    """Every pixel goes through all Gaussians of its picture, nearest first, in float64."""
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pictures, coverage = [], []
    for image in range(len(centers)):
        left = torch.ones(height, width, dtype=torch.float64)
        open_ = torch.ones(height, width, dtype=torch.bool)
        picture = torch.zeros(height, width, 3, dtype=torch.float64)
        for g in depths[image].argsort().tolist():
            if radii[image, g].min() <= 0:
                continue
            dx, dy = (axis + 0.5 - centers[image, g, k].double() for k, axis in enumerate((u, v)))
            a, b, c = conics[image, g].double()
            sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
            tint = (opacities[image, g].double() * torch.exp(-sigma)).clamp_max(0.999)
            tint[tint < 1 / 255] = 0
            open_ &= left * (1 - tint) > 1e-4
            tint = tint * open_
            picture += (tint * left)[..., None] * colors[image, g].double()
            left = left * (1 - tint)
        pictures.append(picture + left[..., None] * background[image].double())
        coverage.append(1 - left)
    return torch.stack(pictures).permute(0, 3, 1, 2), torch.stack(coverage)[:, None]


def check(images, points, height, width, tile, chunk, device):
    given = scene(images, points, height, width)
    generator = torch.Generator().manual_seed(1)
    colors = torch.rand(images, points, 3, generator=generator)
    background = torch.rand(images, 3, generator=generator)
    wanted = reference(*given, colors, background, height, width)
    centers, radii, conics, opacities, depths = (value.to(device) for value in given)
    limits = torch.full((images,), 1.0, device=device), torch.full((images,), 2.0, device=device)
    size = dict(height=height, width=width, tile=tile)
    bins = bin_gaussians(
        centers, radii, conics, opacities, depths, *limits, **size, capacity=9 * images * points
    )
    assert int(bins.needed) < 9 * images * points
    colors, background = colors.to(device), background.to(device)
    found = composite_bins(
        centers, conics, opacities, colors, bins, background, **size, chunk=chunk
    )
    for got, right in zip(found, wanted, strict=True):
        difference = (got.double().cpu() - right).abs()
        # Alphas within rounding of 1/255 may be skipped by one and not by the other.
        assert difference.median() < 1e-6 and difference.max() < 5e-3
        assert (difference > 2e-5).float().mean() < 2e-3
    left = 1 - wanted[1]
    assert left.min() < 1e-3 and left.max() > 0.05, (left.min(), left.max())


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("case", [*CASES, (3, 4000, 60, 70, 8, 32)])
def test_on_the_gpu(case):
    check(*case, "cuda")


def test_in_the_interpreter(run_interpreted):
    run_interpreted(
        "import test_compositing as tests\nfor case in tests.CASES: tests.check(*case, 'cpu')"
    )
