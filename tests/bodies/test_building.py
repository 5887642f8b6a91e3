"""The builder's parts on small made-up surfaces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from presence.bodies.building.mirror import mirror_vertices
from presence.bodies.building.pack import Landmarks, write_body
from presence.bodies.building.parametrize import cut_open, rectangle_map, singular_values
from presence.bodies.building.regressor import fit_joint_regressor
from presence.bodies.building.shape import learn_shape
from presence.bodies.data import read_body
from presence.bodies.loading import embedded_path


def _tube(around: int = 24, along: int = 16, radius=lambda t: 0.1 + 0.15 * t):
    """An open tube of varying radius, faces outwards: vertices, faces, ring size."""
    angle = np.arange(around) * 2 * np.pi / around
    rows = [
        np.stack([radius(t) * np.cos(angle), np.full(around, t), radius(t) * np.sin(angle)], 1)
        for t in np.linspace(0, 1, along)
    ]
    faces = []
    for row in range(along - 1):
        for k in range(around):
            a, b = row * around + k, row * around + (k + 1) % around
            faces += [[a, b + around, b], [a, a + around, b + around]]
    return np.concatenate(rows), np.array(faces)


def _unrolled(vertices, faces, around, hole=None):
    cut = list(range(0, len(vertices), around))
    kept = faces if hole is None else faces[~np.isin(faces, hole).any(1)]
    disk = cut_open(kept, [cut])
    loop = disk.origin[disk.loop]
    first, second = np.flatnonzero(loop == cut[0])
    between = loop[first + 1 : second]
    left, right = (second, first) if np.isin(between, cut[1:]).any() else (first, second)
    upper = sorted(np.flatnonzero(loop == cut[-1]), key=lambda c: (c - right) % len(loop))
    return kept, disk, (int(left), int(right), int(upper[0]), int(upper[-1]))


def _signed(uv, corners):
    a, b, c = uv[corners].transpose(1, 0, 2)
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def test_cutting_a_tube_gives_a_disk_with_two_copies_of_the_cut():
    vertices, faces = _tube()
    disk = cut_open(faces, [list(range(0, len(vertices), 24))])
    assert len(disk.origin) == len(vertices) + 16
    assert len(disk.loop) == 2 * 24 + 2 * 15
    assert (np.bincount(disk.origin)[::24] == 2).all()
    with pytest.raises(ValueError, match="not a disk"):  # a tube without a cut has two borders
        cut_open(np.concatenate([faces, faces[:, ::-1] + len(vertices)]), [])


@pytest.mark.parametrize("hole", [None, [200, 201, 202, 225, 226]])
def test_rectangle_maps_are_one_to_one_and_fill_the_square(hole):
    vertices, faces = _tube()
    _, disk, corners = _unrolled(vertices, faces, 24, hole)
    uv = rectangle_map(disk, vertices, corners, np.ones(len(vertices)), (8, 10))
    area = _signed(uv, disk.corners)
    assert (area > 0).all()
    assert area.sum() == pytest.approx(1.0, abs=0.01 if hole is None else 0.06)
    assert np.abs(uv[disk.loop[list(corners)]] - [[0, 0], [1, 0], [1, 1], [0, 1]]).max() < 1e-9


def test_a_cylinder_unrolls_without_stretch():
    vertices, faces = _tube(radius=lambda t: 1 / (2 * np.pi))  # as wide around as it is long
    _, disk, corners = _unrolled(vertices, faces, 24)
    uv = rectangle_map(disk, vertices, corners, np.ones(len(vertices)), (1, 1))
    singular, _ = singular_values(uv[disk.corners], vertices[disk.origin[disk.corners]])
    assert np.abs(singular - 1).max() < 0.02


def test_importance_gives_a_region_more_texels_and_reweighting_evens_stretch():
    vertices, faces = _tube()
    _, disk, corners = _unrolled(vertices, faces, 24)
    upper = vertices[:, 1] > 0.6
    important = np.where(upper, 6.0, 1.0)

    def map_of(importance, iterations):
        uv = rectangle_map(disk, vertices, corners, importance, (1, 1), iterations=iterations)
        return _signed(uv, disk.corners), uv

    mine = upper[disk.origin[disk.corners]].all(1)
    plain, uv = map_of(np.ones(len(vertices)), 40)
    weighted, _ = map_of(important, 40)
    assert weighted[mine].sum() > 1.2 * plain[mine].sum()
    _, first = map_of(np.ones(len(vertices)), 0)

    def energy(at):
        singular, area = singular_values(at[disk.corners], vertices[disk.origin[disk.corners]])
        return ((singular**2).mean(1) * area).sum()

    assert energy(uv) < energy(first)


def test_singular_values_of_known_maps():
    uv = np.array([[[0, 0], [1, 0], [0, 1]]], float)
    points = np.array([[[0, 0, 0], [3, 0, 0], [0, 0.5, 0]]], float)
    singular, area = singular_values(uv, points)
    np.testing.assert_allclose(singular, [[3, 0.5]])
    np.testing.assert_allclose(area, [0.75])


def test_shape_basis_is_the_truncated_svd_of_bodies_then_of_residuals():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(30, 3))
    hidden = rng.normal(size=(3, 90))
    bodies = mean + (rng.normal(size=(40, 3)) @ hidden).reshape(40, 30, 3)
    extra = rng.normal(size=(2, 90)) * 0.1
    details = bodies + (rng.normal(size=(40, 2)) @ extra).reshape(40, 30, 3)
    basis = learn_shape(mean, bodies, details, np.ones(30), num_bodies=3, num_details=2)
    assert basis.directions.shape == (30, 3, 5)
    assert basis.errors(bodies, 3).max() < 1e-9
    assert basis.errors(details, 3).mean() > 0.05
    assert basis.errors(details).max() < 1e-9
    _, singular, _ = np.linalg.svd((bodies - mean).reshape(40, -1), full_matrices=False)
    norms = np.linalg.norm(basis.directions[..., :3].reshape(90, 3), axis=0)
    np.testing.assert_allclose(norms, singular[:3] / np.sqrt(40))  # unit variance
    coefficients = basis.fit(bodies, 3)
    np.testing.assert_allclose((coefficients**2).mean(0), 1.0)


def test_joint_regressor_finds_joints_that_vertices_determine():
    rng = np.random.default_rng(1)
    people = rng.normal(size=(80, 120, 3)) * 0.05 + rng.normal(size=(120, 3))
    truth = np.zeros((4, 120))
    for joint, start in enumerate((0, 30, 60, 90)):
        truth[joint, start : start + 4] = 0.25
    regressor = fit_joint_regressor(
        people, np.einsum("jv,nvk->njk", truth, people), neighbours=120, reach=120, ridge=1e-9
    )
    np.testing.assert_allclose(regressor.sum(1), 1.0)
    unseen = rng.normal(size=(5, 120, 3)) * 0.05 + people.mean(0)
    found = np.einsum("jv,nvk->njk", regressor, unseen)
    np.testing.assert_allclose(found, np.einsum("jv,nvk->njk", truth, unseen), atol=1e-4)
    moved = np.einsum("jv,nvk->njk", regressor, unseen + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(moved, found + [1.0, 2.0, 3.0])


def test_mirror_of_a_symmetric_mesh_and_of_one_that_is_not():
    rng = np.random.default_rng(2)
    half = rng.uniform(0.1, 1, (20, 3))
    points = np.concatenate([half, half * [-1, 1, 1], [[0.0, 0.5, 0.5]]])
    mirror = mirror_vertices(points)
    np.testing.assert_array_equal(mirror, [*range(20, 40), *range(20), 40])
    with pytest.raises(ValueError, match="no unique mirror image"):
        mirror_vertices(np.concatenate([points, [[0.5, 0.5, 0.5]], [[0.51, 0.5, 0.5]]]))


def test_writing_is_repeatable_and_reading_gives_the_body_back(tmp_path):
    data = read_body(embedded_path())
    data = dataclasses.replace(data, shapedirs=data.shapedirs[..., :3])
    marks = Landmarks(np.arange(51), np.tile([0.2, 0.3, 0.5], (51, 1)))
    for name in ("one.npz", "two.npz"):
        write_body(tmp_path / name, data, marks)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.npz", "two.npz"]
    again = read_body(tmp_path / "one.npz")
    for field in ("v_template", "faces", "weights", "joint_regressor", "uv", "faces_uv"):
        np.testing.assert_allclose(getattr(again, field), getattr(data, field), atol=1e-7)
    assert again.shapedirs.shape[-1] == 3
    for field in ("shapedirs", "exprdirs"):  # rounded to 1e-5 m once more, in half precision
        before, after = (getattr(d, field).astype(np.float64) for d in (data, again))
        np.testing.assert_allclose(after, before, atol=1e-5)
    assert again.expression_names == data.expression_names
    assert {k: v.tolist() for k, v in again.parts.items()} == {
        k: v.tolist() for k, v in data.parts.items()
    }
