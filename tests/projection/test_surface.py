import math

import torch

from presence.projection import build_surface
from presence.testing.toy_bodies import SphereBody


def test_points_lie_at_their_texel_centres():
    surface = build_surface(SphereBody(), 64)
    row, column = surface.texels // 64, surface.texels % 64
    centres = torch.stack([(column + 0.5) / 64, 1 - (row + 0.5) / 64], -1)
    torch.testing.assert_close(surface.uv, centres, atol=1e-5, rtol=0)


def test_maps_and_points_convert_back_and_forth():
    surface = build_surface(SphereBody(), 32)
    values = torch.randn(2, len(surface), 5)
    maps = surface.to_map(values)
    assert maps.shape == (2, 5, 32, 32)
    torch.testing.assert_close(surface.from_map(maps), values)
    assert int((maps[0, 0] != 0).sum()) == len(surface)


def test_cells_are_blocks_of_texels():
    surface = build_surface(SphereBody(), 64)
    flat = torch.zeros(64 * 64, dtype=torch.long)
    flat[surface.texels] = surface.cells(16) + 1
    for row, column in ((0, 0), (5, 9), (15, 15)):
        block = flat.view(64, 64)[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        assert set(block.unique().tolist()) <= {0, row * 16 + column + 1}


def test_tangent_frames_match_the_sphere_in_closed_form():
    body = SphereBody(rings=96, segments=192)
    surface = build_surface(body, 96)
    rest = body(body.default_params()).rest_vertices
    frames, spacing = surface.tangent_frames(rest)
    points = surface.binding.interpolate(rest)
    outward = torch.nn.functional.normalize(points, dim=-1)
    away = points[:, 1].abs() < 0.4  # near the poles the longitude is ill-defined
    assert (frames[away, :, 2] * outward[away]).sum(-1).min() > 0.999
    east = torch.stack([points[:, 2], torch.zeros(len(points)), -points[:, 0]], -1)
    east = torch.nn.functional.normalize(east, dim=-1)
    assert (frames[away, :, 0] * east[away]).sum(-1).min() > 0.999
    around = 2 * math.pi * points[:, [0, 2]].norm(dim=-1) / 0.96 / 96
    torch.testing.assert_close(spacing[away, 0], around[away], rtol=0.04, atol=0)
    torch.testing.assert_close(
        spacing[away, 1],
        torch.full_like(around[away], math.pi * 0.5 / 0.96 / 96),
        rtol=0.01,
        atol=0,
    )
    assert torch.det(frames).min() > 0.999
