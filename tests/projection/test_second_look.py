"""Colours read again where Gaussians are, in pictures whose colours are their pixels' places."""

import math

import pytest
import torch

from presence.projection import SecondLook, build_surface
from presence.structures import Camera, Portrait, UVFeatures
from presence.testing.toy_bodies import SphereBody

SIZE = 64


@pytest.fixture(scope="module")
def scene():
    """A ball seen from the front and from a side, and Gaussians that stand off it by 10 cm."""
    body, surface = SphereBody(), build_surface(SphereBody(), 32)
    points = surface.binding.interpolate(body(body.default_params((2,))).vertices)
    means = points + 0.1 * torch.nn.functional.normalize(points, dim=-1)
    eyes = torch.stack([4 * torch.tensor([math.sin(a), 0.2, math.cos(a)]) for a in (0.0, 1.0)])
    camera = Camera.look_at(eyes, torch.zeros(2, 3), torch.tensor([0.5, 0.5]), SIZE, SIZE)
    place = (torch.arange(SIZE) + 0.5) / SIZE
    y, x = torch.meshgrid(place, place, indexing="ij")
    rgb = torch.stack([x, y, torch.full_like(x, 0.5)]).expand(2, 3, SIZE, SIZE)
    portraits = Portrait(rgb.clone(), torch.ones(2, 1, SIZE, SIZE))
    seen = surface.to_map((torch.rand(2, len(surface), 1) > 0.5).float())
    nothing, flag = torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 8, 8)
    features = UVFeatures(nothing, flag, nothing, flag, torch.zeros(2, 3, 32, 32), seen)
    return surface, points, features, means, portraits, camera


def test_settled_colours_are_those_at_the_gaussians_in_every_portrait(scene):
    surface, points, features, means, portraits, camera = scene
    settled = SecondLook(surface, resample=True).settle(features, means, portraits, camera)
    assert settled.settled and not features.settled
    px, _ = camera.project(means)
    seen = surface.from_map(features.texels_seen)
    got = surface.from_map(settled.texels)
    assert (px > 1).all() and (px < SIZE - 1).all()
    torch.testing.assert_close(got[..., :2], px / SIZE * seen, atol=1e-4, rtol=0)
    at_surface, _ = camera.project(points)
    assert (px - at_surface).abs().max() > 2  # so that it matters which of both is read


def test_without_resample_nothing_is_read(scene):
    surface, _, features, *given = scene
    assert SecondLook(surface, cover=0.4).settle(features, *given) is features
