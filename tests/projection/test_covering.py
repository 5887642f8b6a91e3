"""Gaps between Gaussians against a loop over texels, and the widths that close them."""

import numpy as np
import torch

from presence.projection import build_surface, cover, gaps
from presence.testing.toy_bodies import SphereBody

BODY = SphereBody()
SURFACE = build_surface(BODY, 32)


def points(seed):
    mesh = BODY(BODY.default_params((2,)))
    on_body = SURFACE.binding.interpolate(mesh.vertices)
    spread = 0.02 * torch.randn(on_body.shape, generator=torch.Generator().manual_seed(seed))
    return on_body + spread, on_body


def test_gaps_are_those_to_the_farthest_neighbour():
    means, on_body = points(0)
    place = {int(texel): i for i, texel in enumerate(SURFACE.texels)}
    charts = SURFACE.charts.tolist()
    expected = np.zeros(means.shape[:2])
    for texel, i in place.items():
        row, column = divmod(texel, 32)
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            other = (row + down, column + right)
            if not (0 <= other[0] < 32 and 0 <= other[1] < 32):
                continue
            j = place.get(other[0] * 32 + other[1])
            if j is None or charts[i] != charts[j]:
                continue
            apart = (means[:, i] - means[:, j]).norm(dim=-1).numpy()
            usual = (on_body[:, i] - on_body[:, j]).norm(dim=-1).numpy()
            expected[:, i] = np.maximum(expected[:, i], np.minimum(apart, 1.2 * usual))
    np.testing.assert_allclose(gaps(SURFACE, means, on_body).numpy(), expected, atol=1e-6)


def test_cover_widens_along_the_surface_only():
    means, on_body = points(1)
    scales = 0.1 * torch.rand(*means.shape, generator=torch.Generator().manual_seed(2))
    gap = gaps(SURFACE, means, on_body)
    wide = cover(scales, gap, 0.4)
    assert torch.equal(wide[..., 2], scales[..., 2])
    assert (wide[..., :2] >= 0.4 * gap[..., None]).all()
    kept = scales[..., :2] >= 0.4 * gap[..., None]
    assert 0.05 < kept.float().mean() < 0.95
    assert torch.equal(wide[..., :2][kept], scales[..., :2][kept])
