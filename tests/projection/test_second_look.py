"""Colours read again where Gaussians are, in pictures whose colours are their pixels' places."""

import math

import pytest
import torch

from presence.geometry import matrix_to_quaternion
from presence.projection import SecondLook, build_surface
from presence.structures import Avatar, Camera, Gaussians, Portrait, UVFeatures
from presence.testing.toy_bodies import SphereBody

SIZE = 64


@pytest.fixture(scope="module")
def scene():
    """A ball seen from the front and from a side, and Gaussians that stand off it by 10 cm."""
    body, surface = SphereBody(), build_surface(SphereBody(), 32)
    params = body.default_params((2,))
    posed = body(params)
    normals = torch.nn.functional.normalize(surface.binding.interpolate(posed.vertices[:1]), dim=-1)
    count = len(surface)
    canonical = Gaussians(
        0.1 * normals,
        matrix_to_quaternion(torch.eye(3)).expand(1, count, 4),
        torch.full((1, count, 3), 0.01),
        torch.ones(1, count),
        torch.zeros(1, count, 3),
    )
    eyes = torch.stack([4 * torch.tensor([math.sin(a), 0.2, math.cos(a)]) for a in (0.0, 1.0)])
    camera = Camera.look_at(eyes, torch.zeros(2, 3), torch.tensor([0.5, 0.5]), SIZE, SIZE)
    place = (torch.arange(SIZE) + 0.5) / SIZE
    y, x = torch.meshgrid(place, place, indexing="ij")
    rgb = torch.stack([x, y, torch.full_like(x, 0.5)]).expand(2, 3, SIZE, SIZE)
    portraits = Portrait(rgb.clone(), torch.ones(2, 1, SIZE, SIZE))
    avatar = Avatar(canonical, params[:1], camera[:1], surface.binding)
    seen = surface.to_map((torch.rand(2, count, 1) > 0.5).float())
    nothing, flag = torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 8, 8)
    features = UVFeatures(nothing, flag, nothing, flag, torch.zeros(2, 3, 32, 32), seen)
    return surface, features, avatar, portraits, posed, camera


def test_settled_colours_are_those_at_the_gaussians_in_every_portrait(scene):
    surface, features, avatar, portraits, posed, camera = scene
    settled = SecondLook(surface, resample=True).settle(features, avatar, portraits, posed, camera)
    assert settled.settled and not features.settled
    points = surface.binding.interpolate(posed.vertices) + avatar.canonical.means
    px, _ = camera.project(points)
    seen = surface.from_map(features.texels_seen)
    got = surface.from_map(settled.texels)
    assert (px > 1).all() and (px < SIZE - 1).all()
    torch.testing.assert_close(got[..., :2], px / SIZE * seen, atol=1e-4, rtol=0)
    at_surface, _ = camera.project(surface.binding.interpolate(posed.vertices))
    assert (px - at_surface).abs().max() > 2  # so that it matters which of both is read


def test_without_resample_nothing_is_read(scene):
    surface, features, *given = scene
    assert SecondLook(surface, cover=0.4).settle(features, *given) is features
