import numpy as np
import pytest
import torch
from rasterize_reference import project, random_soup

from presence.rasterize import CPURasterizer, interpolate, rasterize_uv
from presence.structures import MeshTopology


def _drawn(batch=2, count=12, height=9, width=14):
    points, faces = random_soup(5, batch, count, 1.5)
    screen = project(points, 60, 60) * torch.tensor([width / 60, height / 60, 1.0])
    return CPURasterizer()(screen, faces, height, width, cull_backfaces=False), faces


def test_interpolate_is_the_weighted_sum_written_out():
    fragments, faces = _drawn()
    values = torch.randn(2, 36, 4, dtype=torch.float64)
    blended = interpolate(fragments, faces, values)
    ids = fragments.face_ids
    assert blended.shape == (2, 9, 14, 4) and 0 < (ids >= 0).sum() < ids.numel()
    for image, row, column in np.ndindex(2, 9, 14):
        expected = torch.zeros(4, dtype=torch.float64)
        if ids[image, row, column] >= 0:
            corners = faces[ids[image, row, column]]
            expected = fragments.barycentrics[image, row, column].double() @ values[image, corners]
        assert (blended[image, row, column] - expected).abs().max() < 1e-12


def test_interpolate_shares_attributes_over_the_batch_and_takes_single_images():
    fragments, faces = _drawn()
    values = torch.randn(36, 5)
    shared = interpolate(fragments, faces, values)
    torch.testing.assert_close(shared, interpolate(fragments, faces, values.expand(2, -1, -1)))
    torch.testing.assert_close(shared[1], interpolate(fragments[1], faces, values))


def test_interpolate_has_the_right_gradient():
    fragments, faces = _drawn(count=6, height=5, width=6)
    values = torch.randn(2, 18, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: interpolate(fragments, faces, v), (values,))


def test_background_stays_zero_beside_bad_attributes():
    fragments, faces = _drawn()
    values = torch.full((36, 1), torch.nan)
    blended = interpolate(fragments, faces, values)[..., 0]
    assert torch.equal(blended.isnan(), fragments.face_ids >= 0)
    assert (blended[fragments.face_ids < 0] == 0).all()


def test_no_faces_and_wrong_batches():
    fragments, faces = _drawn()
    empty = CPURasterizer()(torch.ones(2, 4, 3), faces[:0], 3, 3)
    assert torch.equal(interpolate(empty, faces[:0], torch.ones(2, 4, 6)), torch.zeros(2, 3, 3, 6))
    with pytest.raises(ValueError, match=r"batch axes \(2,\), but has shape \(3, 36, 4\)"):
        interpolate(fragments, faces, torch.ones(3, 36, 4))


def _two_charts():
    """A quad chart, and a mirrored triangle chart: seven texture corners."""
    uv = [[0.1, 0.55], [0.9, 0.55], [0.9, 0.95], [0.1, 0.95], [0.2, 0.1], [0.7, 0.1], [0.2, 0.45]]
    faces_uv = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 6, 5]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [3, 2, 1]])
    return MeshTopology(faces=faces, faces_uv=faces_uv, uv=torch.tensor(uv), num_vertices=4)


@pytest.mark.parametrize("size", [16, 61])
def test_texels_know_their_own_uv(size):
    topology = _two_charts()
    texels = rasterize_uv(topology, size)
    uv = interpolate(texels, topology.faces_uv, topology.uv)
    rows, columns = torch.nonzero(texels.face_ids >= 0, as_tuple=True)
    u, v = (columns + 0.5) / size, 1 - (rows + 0.5) / size
    torch.testing.assert_close(uv[rows, columns], torch.stack([u, v], 1), atol=2e-4 / size, rtol=0)
    # Inside or outside of a chart, from its outline alone.
    grid_v, grid_u = torch.meshgrid(
        1 - (torch.arange(size) + 0.5) / size, (torch.arange(size) + 0.5) / size, indexing="ij"
    )
    quad = (grid_u > 0.1) & (grid_u < 0.9) & (grid_v > 0.55) & (grid_v < 0.95)
    triangle = (grid_u > 0.2) & (grid_v > 0.1) & ((grid_u - 0.2) / 0.5 + (grid_v - 0.1) / 0.35 < 1)
    wrong = (texels.face_ids >= 0) != (quad | triangle)
    assert wrong.sum() <= 0.01 * size * size  # centres on the outline, within rounding
    assert (texels.face_ids[triangle & ~wrong] == 2).all()
    assert (texels.depth[texels.face_ids >= 0] == 1).all()
