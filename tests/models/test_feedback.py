"""Feedback on a ball of Gaussians in front of a camera."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from presence.errors import ConfigError
from presence.geometry import matrix_to_quaternion
from presence.models.feedback import ColourFeedback, GeometryFeedback, build_feedback
from presence.projection import build_surface
from presence.rendering import build_renderer
from presence.structures import Avatar, Camera, Gaussians, Portrait, cat
from presence.testing.toy_bodies import SphereBody
from presence.testing.toy_training import toy_camera


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


def silhouette_error(avatar, portrait, mesh, camera, renderer):
    return (renderer(avatar.pose(mesh), camera).alpha - portrait.alpha).abs().mean().item()


@pytest.fixture(scope="module")
def hat(scene):
    """The ball, and a portrait of a ball of the same colour with a hump on one side."""
    avatar, _, mesh, _, renderer = scene
    wide = Camera.look_at(torch.tensor([0.0, 0.0, 2.0]), torch.zeros(3), 0.9, 96, 96)
    camera = wide.unsqueeze()
    ball = (renderer(avatar.pose(mesh), camera).alpha > 0.5).float()
    alpha = ball.clone()
    alpha[..., 34:62] = torch.maximum(ball, ball.roll(-5, dims=-2))[..., 34:62]
    assert (alpha - ball).sum() > 100  # pixels to be covered
    grey = Portrait(torch.full((1, 3, 96, 96), 0.5), alpha)
    return avatar, grey, mesh, camera, renderer


def fitted(scene, **options):
    avatar, *given = scene
    return GeometryFeedback(build_surface(SphereBody(), 128), **options)(avatar, *given)


def test_geometry_takes_the_outline_of_the_portrait(hat):
    avatar, portrait, mesh, camera, renderer = hat
    errors = [
        silhouette_error(fitted(hat, steps=steps, rate=0.01), *hat[1:]) for steps in (0, 5, 15)
    ]
    assert errors[0] == pytest.approx(silhouette_error(*hat), abs=1e-4)
    assert errors[2] < 0.8 * errors[1] and errors[1] < 0.8 * errors[0]
    after = fitted(hat, steps=5, rate=0.01)
    assert after.canonical.colors.equal(avatar.canonical.colors)
    assert not after.canonical.means.requires_grad


def test_smoothness_takes_along_what_the_portrait_does_not_show(hat):
    x, y, z = hat[0].pose(hat[2]).means[0].unbind(-1)
    hidden = (x.abs() < 0.1) & (y > 0.4) & (z < -0.1)  # just behind the top

    def rise(weight):
        after = fitted(hat, steps=15, rate=0.01, smoothness=weight)
        return (after.canonical.means - hat[0].canonical.means)[0, hidden, 1].mean().item()

    assert rise(0.04) > rise(0.0) + 0.01


def test_avatars_of_a_batch_do_not_influence_each_other(hat):
    avatar, portrait, mesh, camera, renderer = hat
    other = portrait.replace(alpha=portrait.alpha.flip(-1))
    two = [
        cat([a, b])
        for a, b in ((avatar, avatar), (portrait, other), (mesh, mesh), (camera, camera))
    ]
    together = fitted((*two, renderer), steps=3, rate=0.01)
    alone = fitted(hat, steps=3, rate=0.01)
    torch.testing.assert_close(
        together.canonical.means[:1], alone.canonical.means, atol=1e-6, rtol=1e-4
    )


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_the_blur_are_its_transpose(device):
    feedback = GeometryFeedback(build_surface(SphereBody(), 64)).to(device)
    normal = torch.Generator().manual_seed(0)
    steps, given, other = (
        torch.randn(2, len(feedback.surface), 3, generator=normal).to(device) for _ in range(3)
    )
    (gradient,) = torch.autograd.grad(
        (feedback._blurred(steps.requires_grad_()) * given).sum(), steps
    )
    found, wanted = (gradient * other).sum(), (feedback._blurred(other) * given).sum()
    assert abs(wanted) > 1
    torch.testing.assert_close(found, wanted, atol=1e-2, rtol=1e-4)


def test_maps_are_pooled_with_channels_first(hat):
    """With channels last CUDA's gradients are wrong, which no machine without CUDA can see."""
    orders = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.avg_pool2d_backward.default:
                orders.extend(value.is_contiguous() for value in args[:2])
            return func(*args, **(kwargs or {}))

    with Watch():
        fitted(hat, steps=1)
    assert orders == [True] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_geometry_is_the_same_on_the_gpu(hat):
    avatar, portrait, mesh, camera, _ = hat
    given = [value.to("cuda") for value in (avatar, portrait, mesh, camera)]
    feedback = GeometryFeedback(build_surface(SphereBody(), 128), rate=0.01)
    here = feedback(*hat).canonical.means - avatar.canonical.means
    there = feedback.cuda()(*given, build_renderer("auto")).canonical.means.cpu()
    error = (there - avatar.canonical.means - here).abs().mean()
    assert error < 0.1 * here.abs().mean()


def test_gaussians_beside_the_map_are_refused(hat):
    avatar, *given = hat
    coarse = GeometryFeedback(build_surface(SphereBody(), 64))
    with pytest.raises(ConfigError, match="geometry=null"):
        coarse(avatar, *given)


def test_unknown_parts_and_options_are_named():
    surface = build_surface(SphereBody(), 64)
    with pytest.raises(ConfigError, match="`steps`; it has `geometry` and `colours`"):
        build_feedback(dict(steps=2), surface)
    with pytest.raises(ConfigError, match="pace"):
        build_feedback(dict(colours=dict(pace=2)), surface)
    assert len(build_feedback(dict(geometry=None, colours=dict(steps=1)), surface)) == 1
