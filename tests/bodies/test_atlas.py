"""The shipped atlas, counted with an independent point-in-triangle test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.path import Path

from presence.bodies.atlas import mirror_texels
from presence.bodies.building.atlas import texel_faces
from presence.rasterize import rasterize_uv


@pytest.fixture(scope="module")
def texels(annyx):
    return texel_faces(annyx.topology.uv.double().numpy(), annyx.topology.faces_uv.numpy(), 256)


def test_texel_faces_agrees_with_the_rasterizer_and_with_matplotlib(annyx, texels):
    counts, owner = texels
    drawn = rasterize_uv(annyx.topology, 256).face_ids.numpy()
    assert (drawn != owner).mean() < 1e-3  # float32 edges
    topology, rng = annyx.topology, np.random.default_rng(0)
    corners = topology.uv[topology.faces_uv].double().numpy()
    for row, column in rng.integers(0, 256, (60, 2)):
        if owner[row, column] >= 0:
            centre = ((column + 0.5) / 256, 1 - (row + 0.5) / 256)
            assert Path(corners[owner[row, column]]).contains_point(centre, radius=1e-9) or (
                Path(corners[owner[row, column]]).contains_point(centre, radius=-1e-9)
            )


def test_coverage_shares_and_no_overlap(annyx, texels):
    counts, owner = texels
    assert counts.max() == 1
    assert (counts > 0).mean() >= 0.80
    names = np.array(annyx.chart_names)[annyx.face_charts.numpy()][owner[owner >= 0]]
    bare = np.array([n.removeprefix("left_").removeprefix("right_") for n in names])
    head = np.isin(bare, ("head", "eye_front", "eye_back", "eye_cavity", "mouth_cavity", "tongue"))
    hands = np.isin(bare, ("hand", "thumb", "index", "middle", "ring", "pinky"))
    assert head.mean() >= 0.25
    assert hands.mean() >= 0.08
    inside = np.isin(bare, ("eye_back", "eye_cavity", "mouth_cavity", "tongue"))
    assert inside.mean() < 0.04


def test_no_face_is_flipped_or_empty(annyx):
    a, b, c = annyx.topology.uv[annyx.topology.faces_uv].double().unbind(1)
    signed = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (signed > 0).all()


def test_charts_fill_whole_cells_with_padding(annyx):
    corners = annyx.topology.uv[annyx.topology.faces_uv]
    taken = np.zeros((64, 64), dtype=int)
    for chart, (column, row, width, height) in enumerate(annyx.chart_cells.tolist()):
        taken[row : row + height, column : column + width] += 1
        uv = corners[annyx.face_charts == chart].reshape(-1, 2)
        low = torch.tensor([column, 64 - row - height]) / 64
        high = torch.tensor([column + width, 64 - row]) / 64
        inside = torch.minimum(uv.amin(0) - low, high - uv.amax(0))
        assert inside.min() > 0.3 / 512  # texels of different charts never touch at 512
    assert (taken == 1).all()


def test_uv_corners_join_where_faces_join_inside_a_chart(annyx):
    """Each chart is connected, so the atlas is as fragmented as its chart count says."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces_uv = annyx.topology.faces_uv.numpy()
    pairs = faces_uv[:, [0, 1, 1, 2]].reshape(-1, 2)
    size = len(annyx.topology.uv)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    assert count == len(annyx.chart_names) == 31
    for chart in range(count):
        mine = label[faces_uv[annyx.face_charts.numpy() == chart]]
        assert len(np.unique(mine)) == 1


def test_mirrored_texels_lie_on_mirrored_surface_points(annyx):
    found = rasterize_uv(annyx.topology, 256)
    corners = annyx.v_template[annyx.topology.faces]
    points = torch.einsum("hwk,hwkc->hwc", found.barycentrics, corners[found.face_ids])
    mirror = annyx.mirror_texels(256)
    images = points[mirror[..., 0], mirror[..., 1]] * torch.tensor([-1.0, 1.0, 1.0])
    both = (found.face_ids >= 0) & (found.face_ids[mirror[..., 0], mirror[..., 1]] >= 0)
    assert both.float().mean() > 0.9
    distance = (images - points).norm(dim=-1)[both]
    assert distance.quantile(0.99) < 1e-3 and distance.max() < 0.01


def test_mirror_texels_is_an_involution_and_checks_its_input(annyx):
    mirror = annyx.mirror_texels(128)
    back = mirror[mirror[..., 0], mirror[..., 1]]
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    assert torch.equal(back, torch.stack([rows, columns], -1))
    with pytest.raises(ValueError, match="multiple of 64, got 100"):
        annyx.mirror_texels(100)
    with pytest.raises(ValueError, match="no chart table"):
        mirror_texels(None, None, 64)
