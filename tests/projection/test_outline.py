"""Distances and steps to the portrait's outline, against SciPy and known outlines."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from presence.projection.outline import OUTLINE_CHANNELS, outline_vectors, signed_distance

METRES_A_PIXEL = 2 * 2 * math.tan(math.radians(15)) / 64


def told(points, camera, mask, frames=None):
    points = torch.tensor([points])
    frames = torch.eye(3) if frames is None else frames
    return outline_vectors(mask, points, frames.expand(*points.shape, 3), camera, unit=1.0)[0]


@pytest.mark.parametrize("height, width", [(40, 40), (33, 70)])
def test_distances_agree_with_the_exact_transform(height, width):
    y, x = np.mgrid[:height, :width]
    blobs = [(0.3, 0.3, 0.2), (0.6, 0.7, 0.15), (0.9, 0.4, 0.3)]  # the last is cut by the border
    mask = np.zeros((height, width), bool)
    for row, column, radius in blobs:
        mask |= np.hypot(y / height - row, x / height - column) < radius
    expected = np.where(
        mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask)
    )
    found = signed_distance(torch.tensor(mask, dtype=torch.float32)[None, None])[0, 0].numpy()
    assert np.abs(found - expected).max() < 0.5 and np.abs(found - expected).mean() < 0.01


def test_a_mask_without_outline_is_far_from_one(camera):
    ones = torch.ones(1, 1, 64, 64)
    assert (signed_distance(ones) >= 127).all() and (signed_distance(1 - ones) <= -127).all()
    assert torch.isfinite(told([[0.0, 0.0, 0.0]], camera, ones)).all()


@pytest.mark.parametrize("x", [-6.0, 5.0])
def test_the_step_leads_to_the_outline_from_both_sides(camera, half_mask, x):
    found = told([[x * METRES_A_PIXEL, 0.0, 0.0]], camera, half_mask)[0]
    expected = [-x * METRES_A_PIXEL, 0, 0, METRES_A_PIXEL, 0, 0, -x * METRES_A_PIXEL, 1, 1]
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-3, rtol=0)


def test_steps_are_told_in_the_points_own_axes(camera, half_mask):
    columns = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # u is +y, v is +z, outwards is +x
    found = told([[-5 * METRES_A_PIXEL, 0.0, 0.0]], camera, half_mask, columns)[0]
    step = [0, 0, 5 * METRES_A_PIXEL]
    torch.testing.assert_close(found[:3], torch.tensor(step), atol=2e-3, rtol=0)
    assert abs(found[7]) < 0.2  # seen from the side


def test_nothing_is_told_beyond_the_picture(camera, half_mask):
    found = told([[3.0, 0.0, 0.0], [0.0, 0.0, 3.0]], camera, half_mask)
    assert found.shape == (2, OUTLINE_CHANNELS) and not found.any()
