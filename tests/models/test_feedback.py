"""Colour feedback on a ball of Gaussians in front of a camera."""

import pytest
import torch

from presence.geometry import matrix_to_quaternion
from presence.models.feedback import ColourFeedback
from presence.projection import build_surface
from presence.rendering import build_renderer
from presence.structures import Avatar, Gaussians, Portrait
from presence.testing.toy import SphereBody
from presence.testing.toys import toy_camera


@pytest.fixture(scope="module")
def scene():
    """A grey ball, and a portrait of it with stripes finer than its Gaussians."""
    body = SphereBody()
    surface = build_surface(body, 128)
    params = body.default_params((1,))
    mesh = body(params)
    count = len(surface.binding.uv)
    canonical = Gaussians(
        torch.zeros(1, count, 3),
        matrix_to_quaternion(torch.eye(3)).expand(1, count, 4),
        torch.full((1, count, 3), 0.015),
        torch.full((1, count), 0.95),
        torch.full((1, count, 3), 0.5),
    )
    camera = toy_camera(96).unsqueeze()
    avatar = Avatar(canonical, params, camera, surface.binding)
    renderer = build_renderer("cpu")
    alpha = (renderer(avatar.pose(mesh), camera).alpha > 0.5).float()
    column = torch.arange(96) // 12 % 2
    rgb = torch.stack([column.float() * 0.6 + 0.2] * 3)[None, :, None].expand(1, 3, 96, 96)
    return avatar, Portrait(rgb=rgb.contiguous(), alpha=alpha), mesh, camera, renderer


def error(avatar, scene):
    _, portrait, mesh, camera, renderer = scene
    drawn = renderer(avatar.pose(mesh), camera)
    inside = (drawn.alpha > 0.9) & (portrait.alpha > 0.5)
    return ((drawn.rgb - portrait.rgb).abs() * inside).sum().item() / (3 * inside.sum().item())


def corrected(scene, steps):
    avatar, *given = scene
    return ColourFeedback(steps, behind=0.05)(avatar, *given)


def test_each_drawing_comes_closer_to_the_portrait(scene):
    errors = [error(corrected(scene, steps), scene) for steps in range(4)]
    assert errors[0] == pytest.approx(0.3, abs=0.03)  # grey 0.5 against 0.2 and 0.8
    assert errors[1] < 0.6 * errors[0]
    assert errors[3] < errors[2] < errors[1]


def test_only_colours_in_front_change(scene):
    avatar, _, mesh, camera, _ = scene
    after = corrected(scene, 2)
    for name in ("means", "quaternions", "scales", "opacities"):
        assert getattr(after.canonical, name).equal(getattr(avatar.canonical, name)), name
    px, depth = camera.project(avatar.pose(mesh).means)
    change = (after.canonical.colors - avatar.canonical.colors).abs().amax(-1)
    central = (px - 48).norm(dim=-1) < 20
    behind, front = central & (depth > 2.2), central & (depth < 1.8)
    assert change[behind].max() < 1e-3
    assert change[front].mean() > 0.2


def test_a_portrait_that_the_drawing_equals_changes_nothing(scene):
    avatar, portrait, mesh, camera, renderer = scene
    same = portrait.replace(rgb=torch.full_like(portrait.rgb, 0.5))
    after = ColourFeedback(2)(avatar, same, mesh, camera, renderer)
    torch.testing.assert_close(after.canonical.colors, avatar.canonical.colors, atol=2e-3, rtol=0)
