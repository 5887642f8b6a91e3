"""Light adds up, harmonics match their integrals, and shadows fall behind things."""

import math

import numpy as np
import torch

from presence.rasterize import build_rasterizer
from presence.synthesis.anatomy import light_screen
from presence.synthesis.draws import Draws
from presence.synthesis.fields import Beside, linear_from_srgb, srgb_from_linear
from presence.synthesis.lighting import ShadowMaps, draw_light, harmonics, illuminate, sky_light


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float32), dim=-1)


def test_harmonics_are_orthogonal_and_at_most_one():
    torch.manual_seed(0)
    values = harmonics(unit(200000, 3).double())
    gram = (values.T @ values) / len(values)
    assert (gram - torch.diag(torch.diagonal(gram))).abs().max() < 0.005
    assert values.abs().max() <= 1.0 + 1e-6
    assert values.amax(0).min() > 0.99


def test_bands_fold_in_the_cosine_lobe():
    # Irradiance over pi of light L(w) = Y(w), integrated numerically, is band * Y(n).
    torch.manual_seed(1)
    sky, normal = unit(400000, 3).double(), unit(1, 3).double()
    cosine = (sky @ normal[0]).clamp_min(0.0)
    received = 4.0 * (harmonics(sky) * cosine[:, None]).mean(0)
    bands = torch.tensor([1.0] + [2 / 3] * 3 + [0.25] * 5).double()
    assert torch.allclose(received, bands * harmonics(normal)[0], atol=0.01)


def test_light_is_linear_in_its_sources():
    torch.manual_seed(2)
    light = draw_light(Draws([1, 2]), np.zeros(2))
    index, count = torch.tensor([0, 1, 1]), 3
    normal, view = unit(count, 3).T, unit(count, 3).T
    albedo, sky = torch.rand(3, count), torch.rand(3, count)
    rest = (torch.rand(count), torch.zeros(count, dtype=torch.bool))

    def lit(lamp, sky):
        scaled = light.replace(lamp=light.lamp * lamp)
        return illuminate(Beside(scaled, index), albedo, *rest, sky, torch.ones(count), normal,
                          view, torch.ones(count))  # fmt: skip

    both = lit(2.0, 3.0 * sky)
    assert torch.allclose(both, 2.0 * lit(1.0, 0.0 * sky) + 3.0 * lit(0.0, sky), atol=1e-5)


def test_the_sky_is_brighter_above():
    light = draw_light(Draws(range(50)), np.zeros(50))
    up, down = (torch.tensor([[[0.0, s, 0.0]]]).expand(50, 1, 3) for s in (1.0, -1.0))
    brighter = sky_light(light, up).mean(-1) > sky_light(light, down).mean(-1)
    assert brighter.float().mean() > 0.9


def test_shadow_falls_behind_a_square_and_nowhere_else():
    # A unit square at z = 0, lit along -z by a lamp slightly from above.
    square = torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])[None]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    tilt = math.radians(10)
    toward = torch.tensor([[0.0, math.sin(tilt), math.cos(tilt)]])
    extent = torch.tensor([[[-2.0, -2.0, -1.5], [2.0, 2.0, 1.0]]])
    maps = ShadowMaps(build_rasterizer("cpu"), square, faces, toward, extent)
    drop = math.tan(tilt)
    points = torch.tensor([[0.0, -drop, -1.0], [0.45, -drop, -1.0], [0.7, -drop, -1.0],
                           [0.0, 0.62 - drop, -1.0], [0.0, 0.3, 0.5]]).T  # fmt: skip
    normals = torch.tensor([[0.0], [0.0], [1.0]]).expand(3, 5)
    lit = maps.lit(points, normals, torch.zeros(5, dtype=torch.int64))
    assert torch.allclose(lit, torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]), atol=1e-5)


def test_light_screen_keeps_winding_and_depth():
    torch.manual_seed(3)
    toward = unit(5, 3)
    middle = torch.randn(5, 4, 3)
    screen = light_screen(middle, toward, middle, 64)
    depth = -(middle * toward[:, None]).sum(-1)
    assert torch.allclose(screen[..., 2], depth, atol=1e-5)
    # A triangle that faces the light runs counter-clockwise on a screen with y down.
    side = torch.linalg.cross(toward, unit(5, 3))
    up = torch.linalg.cross(toward, side)
    triangle = torch.stack([torch.zeros(5, 3), side, up], 1)
    a, b, c = light_screen(triangle, toward, triangle, 64)[..., :2].unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area < 0).all()


def test_srgb_round_trip():
    values = np.linspace(0, 1, 101)
    back = srgb_from_linear(torch.from_numpy(linear_from_srgb(values)))
    assert np.allclose(back.numpy(), values, atol=1e-5)
