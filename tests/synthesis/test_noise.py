"""The noise volume: periodic, centred, and zero where gradient noise must be."""

import numpy as np
import pytest
import torch

from presence.synthesis.noise import CHANNELS, NoiseVolume, _cell_noise, _gradient_noise, _hash_grid


@pytest.fixture(scope="module")
def noise():
    return NoiseVolume(cells=8, texels=4)


def test_repeats_after_its_cells(noise):
    points = torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) * 8
    shift = torch.tensor([[8.0], [-16.0], [24.0]])
    assert torch.allclose(noise(points), noise(points + shift), atol=2e-4)


def test_every_channel_is_centred(noise):
    values = noise.volume[:, :-1, :-1, :-1].flatten(1)
    assert values.shape[0] == len(CHANNELS)
    assert torch.allclose(values.mean(1), torch.zeros(len(CHANNELS)), atol=1e-4)
    assert torch.allclose(values.std(1), torch.ones(len(CHANNELS)), atol=1e-3)


def test_texels_are_returned_unchanged(noise):
    # Texel (z, y, x) = (5, 2, 30) lies at x = 30 / 4 cells and so on.
    point = torch.tensor([[30 / 4], [2 / 4], [5 / 4]])
    assert torch.allclose(noise(point)[:, 0], noise.volume[:, 5, 2, 30], atol=1e-4)


def test_a_slice_of_channels_equals_the_whole(noise):
    points = torch.rand(3, 50) * 5
    assert torch.equal(noise(points, slice(2, 4)), noise(points)[2:4])


def test_gradient_noise_is_zero_on_its_lattice():
    volume = _gradient_noise(4, 16, seed=3)
    assert np.abs(volume[::4, ::4, ::4]).max() == 0.0
    assert np.abs(volume).max() > 0.3


def test_cell_noise_is_the_distance_to_the_nearest_point():
    cells, size = 3, 6
    points = _hash_grid(cells, 7)[..., :3] + np.stack(
        np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1
    )
    shifts = np.array(list(np.ndindex(3, 3, 3))) - 1
    everywhere = (points.reshape(-1, 1, 3) + shifts * cells).reshape(-1, 3)
    grid = np.stack(np.meshgrid(*[np.arange(size) / 2] * 3, indexing="ij"), -1)
    brute = np.linalg.norm(grid[..., None, :] - everywhere, axis=-1).min(-1)
    assert np.allclose(_cell_noise(cells, size, 7), brute)
