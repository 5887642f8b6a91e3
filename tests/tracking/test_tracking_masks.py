from __future__ import annotations

import numpy as np
import pytest
import torch

from presence.tracking.matting import guided_fit, refine_mask
from presence.tracking.silhouette import SilhouetteTarget
from presence.tracking.windows import Window, cut, paste

cv2 = pytest.importorskip("cv2")


def disk(size, centre, radius):
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.hypot(columns - centre[0], rows - centre[1]) < radius


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


def test_refined_mask_follows_the_pictures_edge():
    """A blurred and shifted guess comes back to the red disk that the picture shows."""
    random = np.random.default_rng(0)
    true = disk(300, (150, 150), 80)
    image = np.where(true[..., None], (200, 40, 40), (40, 90, 160))
    image = image + random.normal(0, 8, (300, 300, 3))
    guess = cv2.GaussianBlur(disk(300, (152, 149), 80).astype(np.float32), (0, 0), 4)
    mask = refine_mask(image.clip(0, 255).astype(np.uint8), guess)
    assert overlap(mask > 0.5, true) > 0.985
    assert overlap(mask > 0.5, true) > overlap(guess > 0.5, true)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1


def test_only_the_main_piece_stays():
    true = disk(200, (100, 100), 50) | disk(200, (20, 20), 6)
    image = np.where(true[..., None], (220, 220, 220), (20, 20, 20)).astype(np.uint8)
    mask = refine_mask(image, true.astype(np.float32))
    assert mask[15:25, 15:25].max() < 0.1
    assert mask[100, 100] > 0.99


def test_nothing_in_nothing_out():
    assert refine_mask(np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.float32)).sum() == 0


def test_guided_fit_is_the_windows_linear_regression():
    random = np.random.default_rng(1)
    guide = random.random((9, 9, 3)).astype(np.float32)
    values = random.random((9, 9)).astype(np.float32)
    slope, _ = guided_fit(guide, values, 4, 1e-3)
    # With radius 4 the window of the middle pixel is the whole picture, but the returned fit is
    # averaged over windows: compare where all windows are alike, on a picture that repeats.
    flat = np.full((9, 9), 0.7, np.float32)
    slope, offset = guided_fit(guide, flat, 2, 1e-3)
    assert np.abs(slope).max() < 1e-4 and np.allclose(offset, 0.7, atol=1e-4)
    linear = guide @ np.float32([0.5, -0.2, 0.1]) + 0.3
    slope, offset = guided_fit(guide, linear, 2, 1e-6)
    assert np.allclose((slope * guide).sum(-1) + offset, linear, atol=2e-3)


def test_cut_and_paste_keep_places():
    image = np.zeros((100, 120, 3), np.uint8)
    image[60:64, 80:84] = 255
    window = Window(50, 40, 60, 50)
    crop = cut(image, window, 240)
    assert crop.shape == (200, 240, 3)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    assert (columns.mean() + 0.5) / 4 + 50 == pytest.approx(82, abs=0.2)
    assert (rows.mean() + 0.5) / 4 + 40 == pytest.approx(62, abs=0.2)
    back, covered = paste(crop[..., 0] / 255, window, 100, 120)
    assert covered[40:90, 50:110].all() and covered.sum() == 50 * 60
    assert np.abs(back - image[..., 0] / 255)[45:85, 55:105].mean() < 0.01


def test_window_geometry():
    window = Window(10, 20, 30, 10)
    assert window.square() == Window(10, 10, 30, 30)
    assert window.overlap(Window(10, 20, 15, 10)) == pytest.approx(0.5)
    assert window.overlap(Window(100, 100, 5, 5)) == 0
    assert window.contains(25, 25) and not window.contains(5, 25)


def test_silhouette_distance_is_the_disks():
    target = SilhouetteTarget(disk(256, (120, 130), 60).astype(np.float32))
    random = np.random.default_rng(2)
    points = torch.from_numpy(random.uniform(20, 235, (200, 2)))
    value, slope, within = target.distance(points)
    true = np.hypot(points[:, 0] - 120, points[:, 1] - 130) - 60
    assert within.all()
    assert np.abs(value.numpy() - true.numpy()).max() < 1.5
    outward = (points - torch.tensor([120.0, 130.0])) / (true + 60)[:, None]
    far = torch.from_numpy(np.abs(true.numpy()) > 5) & ((true + 60) > 10)
    assert (torch.cosine_similarity(slope, outward)[far] > 0.8).all()


def test_inside_term_only_counts_points_outside():
    target = SilhouetteTarget(disk(256, (128, 128), 60).astype(np.float32))
    px = torch.tensor([[128.0, 128.0], [128.0, 208.0], [500.0, 128.0]], dtype=torch.float64)
    term = target.inside_term(px, None, sigma=2.0)
    assert term.weights.tolist() == [0, 1, 0]  # inside; outside; outside the picture
    assert float(term.residuals[1]) == pytest.approx(10.0, abs=0.6)


def test_contour_points_pair_with_points_that_face_the_same_way():
    target = SilhouetteTarget(disk(256, (128, 128), 60).astype(np.float32))
    angles = torch.linspace(0, 2 * torch.pi, 73, dtype=torch.float64)[:-1]
    directions = torch.stack([angles.cos(), angles.sin()], -1)
    px = 128 + 55 * directions
    normals = torch.cat([directions, torch.zeros(72, 1, dtype=torch.float64)], -1)
    normals[::2] *= -1  # every other point belongs to a surface that faces inwards
    avoid = torch.tensor([128.0, 68.0]), 20.0
    pairs, contour = target.pair(px, normals, 15.0, 100, avoid)
    assert len(pairs) > 50 and (pairs % 2 == 1).all()
    assert (px[pairs] - target.contour[contour]).norm(dim=-1).max() < 10
    assert (target.contour[contour] - avoid[0]).norm(dim=-1).min() > 20
