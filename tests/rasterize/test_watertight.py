import numpy as np
import pytest
import torch

from presence.rasterize import CPURasterizer


def _times_covered(points, faces, height, width):
    """How many of the faces own each centre: every face is drawn as a mesh of its own."""
    screen = torch.cat([points, torch.ones(len(points), 1)], 1)[faces]  # [F, 3, 3]
    found = CPURasterizer()(screen, torch.tensor([[0, 1, 2]]), height, width, cull_backfaces=False)
    return (found.face_ids == 0).sum(0).numpy()


def _grid(cells, size, margin, jitter, rng, snap):
    """A grid over more than the image, inner vertices moved but no face turned over."""
    xs = np.linspace(-margin, size + margin, cells + 1)
    points = np.stack(np.meshgrid(xs, xs), -1)
    step = xs[1] - xs[0]
    points[1:-1, 1:-1] += rng.uniform(-jitter, jitter, points[1:-1, 1:-1].shape) * step
    if snap:  # onto pixel centres, so that vertices, and many edges, hit centres exactly
        points = np.floor(points) + 0.5
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    return torch.tensor(points.reshape(-1, 2), dtype=torch.float32), torch.tensor(faces)


@pytest.mark.parametrize("snap", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_every_centre_of_a_tiled_plane_is_owned_once(snap, seed):
    rng = np.random.default_rng(seed)
    points, faces = _grid(12, 40, 5.0, 0.2, rng, snap)
    count = _times_covered(points, faces, 40, 40)
    np.testing.assert_array_equal(count, np.ones((40, 40)))


@pytest.mark.parametrize("seed", range(20))
def test_fans_around_a_centre_own_it_once(seed):
    rng = np.random.default_rng(100 + seed)
    spokes = rng.integers(3, 40)
    angles = np.sort((np.arange(spokes) + rng.uniform(0, 0.9, spokes)) / spokes * 2 * np.pi)
    rim = 8.5 + np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(4, 300, (spokes, 1))
    if seed % 2:
        rim = np.round(rim - 0.5) + 0.5
    points = torch.tensor(np.concatenate([[[8.5, 8.5]], rim]), dtype=torch.float32)
    nexts = np.arange(spokes) % spokes
    faces = torch.tensor(np.stack([0 * nexts, nexts + 1, (nexts + 1) % spokes + 1], 1))
    count = _times_covered(points, faces, 17, 17)
    assert count[8, 8] == 1
    assert count.max() == 1


def test_long_slivers_from_far_off_screen_leave_no_gap():
    rng = np.random.default_rng(7)
    bottoms = np.sort(rng.uniform(-60_000, 60_000, 60))
    points = np.concatenate([[[15.3, -90_000.7]], np.stack([bottoms, 0 * bottoms + 90_000.1], 1)])
    points[1, 0], points[-1, 0] = -120_000, 120_000
    index = np.arange(1, 60)
    faces = torch.tensor(np.stack([0 * index, index, index + 1], 1))
    count = _times_covered(torch.tensor(points, dtype=torch.float32), faces, 30, 30)
    np.testing.assert_array_equal(count, np.ones((30, 30)))
