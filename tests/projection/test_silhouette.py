"""Mask probes, carving and colours at points, against pictures whose values are known."""

import math

import numpy as np
import pytest
import torch

from presence.projection import carve, colours_at, narrow, probe_mask
from presence.projection.silhouette import distance_inside, sample_picture
from presence.structures import Portrait


def point(x, y=0.0, z=0.0):
    return torch.tensor([[[x, y, z]]])


def test_a_linear_ramp_is_read_at_its_pixel(camera):
    ramp = (torch.arange(64) + 0.5).expand(1, 1, 64, 64)  # the value is the pixel's x
    points = torch.rand(1, 50, 3) * 0.6 - 0.3
    values, known = sample_picture(ramp, points, camera)
    px, _ = camera.project(points)
    torch.testing.assert_close(values[..., 0], px[..., 0], atol=2e-3, rtol=0)
    assert known.all()


def test_points_beyond_the_picture_or_behind_the_camera_are_unknown(camera):
    ones = torch.ones(1, 1, 64, 64)
    for far in (point(5.0), point(0.0, 0.0, 3.0)):
        assert sample_picture(ones, far, camera)[1].item() == 0


def test_probes_walk_along_the_normal(camera, half_mask):
    metres_a_pixel = 2 * 2 * math.tan(math.radians(15)) / 64
    start = point(-4 * metres_a_pixel)  # four pixels inside
    outwards = torch.tensor([[[1.0, 0.0, 0.0]]])
    stops = metres_a_pixel * torch.tensor([0.0, 2.0, 6.0, 60.0])
    found = probe_mask(half_mask, start, outwards, camera, stops)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 1.0, -1.0, 0.0]]]))


def test_carving_takes_what_leaves_the_outline_and_spares_a_misaligned_body(camera, half_mask):
    inside, outside = -0.2, 0.2
    means = torch.cat([point(inside), point(outside), point(outside)], 1)
    bound_to = torch.cat([point(inside), point(inside), point(outside)], 1)
    left = carve(half_mask, means, bound_to, camera)
    torch.testing.assert_close(left, torch.tensor([[1.0, 0.0, 1.0]]))


@pytest.mark.parametrize("x", [-0.02, 0.002])  # among the person's columns, and on their edge
def test_nothing_changes_at_once_where_gaussians_leave_the_picture(camera, half_mask, x):
    """Jumps have no gradient: a rendering that changes by them teaches the opposite."""
    rim = 2 * math.tan(math.radians(15))  # m, where the picture ends above and below
    means = torch.cat([point(x, sign * y) for sign in (-1, 1) for y in (rim - 1e-4, rim + 1e-4)], 1)
    bound_to = point(-0.2).expand(1, 4, 3)
    portrait = Portrait(torch.rand(1, 3, 64, 64), half_mask)
    wide = torch.full((1, 4, 3), 0.3)
    for values in (
        carve(half_mask, means, bound_to, camera)[..., None],
        narrow(wide, half_mask, means, bound_to, camera, 2.0),
        colours_at(portrait, means, camera),
    ):
        torch.testing.assert_close(values[:, ::2], values[:, 1::2], atol=5e-3, rtol=0)


def test_sizes_at_the_outline_have_the_slope_of_the_distance(camera, half_mask):
    metres_a_pixel = 2 * 2 * math.tan(math.radians(15)) / 64
    means = point(-3 * metres_a_pixel).requires_grad_()
    kept = narrow(torch.full((1, 1, 3), 0.3), half_mask, means, point(-0.2), camera, 2.0)
    (slope,) = torch.autograd.grad(kept[0, 0, 0], means)
    # A metre further inside the distance grows by a metre, of which a half is one deviation.
    assert slope[0, 0, 0].item() == pytest.approx(-0.5, abs=0.02)


def test_carving_pulls_gaussians_back_over_the_edge(camera, half_mask):
    means = point(0.002).requires_grad_()
    (slope,) = torch.autograd.grad(carve(half_mask, means, point(-0.2), camera).sum(), means)
    assert slope[0, 0, 0] < 0  # further left means more opaque


def test_colours_are_free_of_the_background_beside_the_person(camera, half_mask):
    rgb = torch.zeros(1, 3, 64, 64)
    rgb[:, 0, :, :32], rgb[:, 1, :, 32:] = 0.8, 1.0  # a red person before green
    portrait = Portrait(rgb, half_mask)
    found = colours_at(portrait, torch.cat([point(-0.2), point(0.001), point(0.3)], 1), camera)[0]
    torch.testing.assert_close(found[:2, :3], torch.tensor([[0.8, 0.0, 0.0]] * 2))
    assert found[0, 3] == 1 and 0 < found[1, 3] < 1 and found[2, 3] == 0


def test_the_distance_inside_is_the_chessboard_distance():
    from scipy.ndimage import distance_transform_cdt

    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(1, 1, 40, 40, generator=generator) > 0.02
    mask[..., :, 0] = mask[..., 0, :] = mask[..., :, -1] = mask[..., -1, :] = True
    ringed = np.pad(mask[0, 0].numpy(), 20, constant_values=True)  # borders are no outline
    expected = distance_transform_cdt(ringed, "chessboard")[20:-20, 20:-20].clip(max=6)
    distance = distance_inside(mask.float(), 6)[0, 0]
    np.testing.assert_array_equal(distance.numpy(), expected)


def test_gaussians_at_the_outline_keep_their_deviations_inside(camera, half_mask):
    metres_a_pixel = 2 * 2 * math.tan(math.radians(15)) / 64
    means = torch.cat([point(-(pixels - 0.5) * metres_a_pixel) for pixels in (1, 4, 20)], 1)
    wide = torch.full((1, 3, 3), 6 * metres_a_pixel)
    kept = narrow(wide, half_mask, means, means, camera, 2.0) / metres_a_pixel
    assert kept[0, 0, 0].item() == pytest.approx(0.5, abs=0.01)  # two deviations: one pixel
    assert kept[0, 1, 0].item() == pytest.approx(2.0, abs=0.01)
    assert kept[0, 2, 0].item() == pytest.approx(6.0)  # far inside


def test_a_misaligned_body_keeps_its_sizes(camera, half_mask):
    outside = point(0.2)
    wide = torch.full((1, 1, 3), 0.1)
    assert narrow(wide, half_mask, point(-0.01), outside, camera, 2.0).equal(wide)
