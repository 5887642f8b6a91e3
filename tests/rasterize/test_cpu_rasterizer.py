import numpy as np
import pytest
import torch
from rasterize_reference import FOCAL, cast_rays, covered, project, random_soup, sphere

from presence.rasterize import CPURasterizer, interpolate


@pytest.mark.parametrize("cull", [True, False])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_random_soups_agree_with_rays_cast_in_float64(cull, spread):
    height, width = 48, 70
    points, faces = random_soup(1, 3, 80, spread)
    found = CPURasterizer()(
        project(points, height, width), faces, height, width, cull_backfaces=cull
    )
    for image in range(3):
        hits = cast_rays(points[image], faces, height, width, cull=cull, orthographic=False)
        certain = hits.certain
        assert certain.mean() > 0.9
        assert 0.1 < (hits.face_ids >= 0).mean() < 1
        np.testing.assert_array_equal(
            found.face_ids[image].numpy()[certain], hits.face_ids[certain]
        )
        np.testing.assert_allclose(
            found.depth[image].numpy()[certain], hits.depth[certain], atol=5e-4
        )
        # Vertices move by up to 1/8192 px on the grid; thin faces magnify that.
        error = np.abs(found.barycentrics[image].numpy() - hits.barycentrics).max(-1)[certain]
        assert np.quantile(error, 0.99) < 1e-3


def test_orthographic_soups_agree_with_parallel_rays_and_take_any_depth():
    height, width = 40, 33
    points, faces = random_soup(2, 1, 60, 1.0)
    screen = points[0] * torch.tensor([20.0, 20.0, 1.0]) + torch.tensor([16.0, 20.0, -2.5])
    found = CPURasterizer()(screen, faces, height, width, cull_backfaces=False, orthographic=True)
    hits = cast_rays(screen, faces, height, width, cull=False, orthographic=True)
    certain = hits.certain
    assert certain.mean() > 0.9 and (hits.depth[certain] < 0).any()
    np.testing.assert_array_equal(found.face_ids.numpy()[certain], hits.face_ids[certain])
    np.testing.assert_allclose(found.depth.numpy()[certain], hits.depth[certain], atol=5e-4)


def test_coverage_is_exact_on_a_lattice_with_every_kind_of_tie():
    size, rng = 24, np.random.default_rng(3)
    corners = rng.integers(-8, 2 * size + 8, size=(300, 3, 2)) / 2
    screen = torch.ones(300, 3, 3)
    screen[..., :2] = torch.tensor(corners)
    found = CPURasterizer()(screen, torch.tensor([[0, 1, 2]]), size, size, cull_backfaces=False)
    expected = np.stack([covered(c, size, size) for c in corners])
    assert expected.any(axis=(1, 2)).sum() > 250
    np.testing.assert_array_equal(found.face_ids.numpy() == 0, expected)


def test_interpolated_camera_space_points_lie_on_the_pixels_rays():
    height, width = 60, 80
    corners = torch.tensor([[-1.5, -1.0, 2.0], [-1.0, 2.5, 5.0], [4.0, 0.0, 9.0]])
    faces = torch.tensor([[0, 1, 2]])
    found = CPURasterizer()(
        project(corners, height, width), faces, height, width, cull_backfaces=False
    )
    points = interpolate(found, faces, corners)
    hit = found.face_ids == 0
    assert hit.sum() > 500
    rows, columns = torch.nonzero(hit, as_tuple=True)
    seen = project(points[hit], height, width)
    assert (seen[:, 0] - (columns + 0.5)).abs().max() < 1e-3
    assert (seen[:, 1] - (rows + 0.5)).abs().max() < 1e-3
    torch.testing.assert_close(seen[:, 2], found.depth[hit], rtol=1e-5, atol=0)
    weights = found.barycentrics[hit]
    assert (weights >= 0).all() and (weights.sum(-1) - 1).abs().max() < 1e-6


def test_culling_leaves_the_faces_of_a_sphere_that_look_at_the_camera():
    size = 256
    points, faces = sphere()
    screen = project(points, size, size)
    screen[:, :2] = (screen[:, :2] - size / 2) * 7 + size / 2
    rasterizer = CPURasterizer()
    front = rasterizer(screen, faces, size, size)
    centroids = points[faces].mean(1)
    edges = points[faces]
    normals = torch.linalg.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0])
    looking = (normals * centroids).sum(-1) < 0
    seen = front.face_ids[front.face_ids >= 0].unique()
    assert looking[seen].all()
    assert len(seen) > 0.9 * looking.sum() > 0.3 * len(faces)
    # Nothing behind a closed surface shows, so culling must not change the picture.
    both = rasterizer(screen, faces, size, size, cull_backfaces=False)
    assert torch.equal(front.face_ids, both.face_ids) and torch.equal(front.depth, both.depth)
    back = rasterizer(screen, faces.flip(-1), size, size)
    hit = front.face_ids >= 0
    assert torch.equal(hit, back.face_ids >= 0)
    assert not looking[back.face_ids[hit]].any() and (back.depth > front.depth)[hit].all()
    # From afar a disc: radius f r / sqrt(d^2 - r^2), with the focal length scaled as above.
    radius = 7 * FOCAL / np.sqrt(15)
    assert hit.sum().item() == pytest.approx(np.pi * radius**2, rel=0.01)


def test_half_of_the_faces_look_along_parallel_rays():
    points, faces = sphere()
    screen = points * torch.tensor([200.0, 200.0, 1.0]) + torch.tensor([256.0, 256.0, 0.0])
    found = CPURasterizer()(screen, faces, 512, 512, orthographic=True)
    seen = found.face_ids[found.face_ids >= 0].unique()
    assert len(seen) / len(faces) == pytest.approx(0.5, abs=0.02)


def test_background_is_minus_one_zero_and_infinite():
    screen = torch.tensor([[1.0, 1.0, 2.0], [1.0, 4.0, 2.0], [4.0, 1.0, 2.0]])
    found = CPURasterizer()(screen, torch.tensor([[0, 1, 2]]), 8, 12)
    empty = found.face_ids < 0
    assert found.face_ids.shape == (8, 12) and found.face_ids.dtype == torch.int64
    assert 0 < empty.sum() < empty.numel()
    assert (found.face_ids[empty] == -1).all()
    assert (found.barycentrics[empty] == 0).all() and (found.depth[empty] == torch.inf).all()


def test_equal_depths_go_to_the_lower_index_and_nearer_faces_win_in_any_order():
    square = torch.tensor([[0.0, 0.0], [0.0, 8.0], [8.0, 8.0], [8.0, 0.0]])
    screen = torch.cat([torch.cat([square, torch.full((4, 1), z)], 1) for z in (2.0, 1.0, 1.0)])
    faces = torch.cat([torch.tensor([[0, 1, 2], [0, 2, 3]]) + 4 * k for k in range(3)])
    found = CPURasterizer()(screen, faces, 8, 8)
    assert set(found.face_ids.unique().tolist()) == {2, 3}
    found = CPURasterizer()(screen, faces.flip(0), 8, 8)
    assert set(found.face_ids.unique().tolist()) == {0, 1}


@pytest.mark.parametrize(
    "corner",
    [
        [4.0, 4.0, 2.0],  # on the edge between the other two: no area
        [float("nan"), 0.0, 2.0],
        [0.0, float("inf"), 2.0],
        [8.0, 0.0, float("nan")],
        [8.0, 0.0, 1e-3],  # on the near plane
        [8.0, 0.0, -2.0],
        [3e5, 0.0, 2.0],
    ],
)
def test_faces_that_cannot_be_drawn_are_dropped_and_others_stay(corner):
    screen = torch.tensor(
        [
            [0.0, 0.0, 2.0],
            [8.0, 8.0, 2.0],
            corner,
            [0.0, 0.0, 3.0],
            [0.0, 8.0, 3.0],
            [8.0, 8.0, 3.0],
        ]
    )
    found = CPURasterizer()(
        screen, torch.tensor([[0, 1, 2], [3, 4, 5]]), 8, 8, cull_backfaces=False
    )
    assert set(found.face_ids.unique().tolist()) == {-1, 1}
    assert (found.depth[found.face_ids == 1] - 3).abs().max() < 1e-5


def test_near_plane_is_an_option():
    screen = torch.tensor([[0.0, 0.0, 0.5], [0.0, 8.0, 0.5], [8.0, 0.0, 0.5]])
    faces = torch.tensor([[0, 1, 2]])
    assert (CPURasterizer(near=0.4)(screen, faces, 8, 8).face_ids >= 0).any()
    assert (CPURasterizer(near=0.5)(screen, faces, 8, 8).face_ids < 0).all()


def test_faces_off_the_screen_leave_nothing_and_huge_ones_fill_it():
    faces = torch.tensor([[0, 1, 2]])
    corners = torch.tensor([[0.0, 0.0, 2.0], [0.0, 5.0, 2.0], [5.0, 0.0, 2.0]])
    for x, y in [(-6.0, 0.0), (20.0, 0.0), (0.0, -6.0), (0.0, 10.0)]:
        found = CPURasterizer()(corners + torch.tensor([x, y, 0.0]), faces, 10, 20)
        assert (found.face_ids < 0).all()
    huge = torch.tensor([[-1e5, -1e5, 2.0], [-1e5, 1e5, 4.0], [1e5, 1e5, 8.0]])
    found = CPURasterizer()(huge + torch.tensor([30.0, -30.0, 0.0]), faces, 10, 20)
    assert (found.face_ids == 0).all()
    # The screen is a point to this face: the middle of its longest edge, where 1/z is linear.
    torch.testing.assert_close(found.depth, torch.full((10, 20), 3.2), rtol=1e-3, atol=0)


def test_batches_bands_and_threads_do_not_change_a_bit():
    height, width = 50, 37
    points, faces = random_soup(4, 6, 90)
    screen = project(points, height, width)
    whole = CPURasterizer(threads=1)(screen, faces, height, width)
    for threads in (2, 3, 40):
        split = CPURasterizer(threads=threads)(screen.reshape(2, 3, -1, 3), faces, height, width)
        assert split.batch_shape == (2, 3)
        for image in range(6):
            one = CPURasterizer(threads=threads)(screen[image], faces, height, width)
            assert one.batch_shape == ()
            for name in ("face_ids", "barycentrics", "depth"):
                expected = getattr(whole, name)[image]
                assert torch.equal(getattr(one, name), expected)
                assert torch.equal(getattr(split, name)[image // 3, image % 3], expected)


@pytest.mark.parametrize(("batch", "vertices", "count"), [(2, 5, 0), (0, 5, 1), (3, 0, 0)])
def test_empty_meshes_and_batches_give_background(batch, vertices, count):
    faces = torch.zeros(count, 3, dtype=torch.int64)
    found = CPURasterizer()(torch.ones(batch, vertices, 3), faces, 4, 6)
    assert found.face_ids.shape == (batch, 4, 6)
    assert (found.face_ids == -1).all() and (found.depth == torch.inf).all()


def test_sphere_of_the_bodys_size_takes_milliseconds():
    import time

    import trimesh

    mesh = trimesh.creation.uv_sphere(count=[84, 84])
    faces = torch.tensor(np.array(mesh.faces))
    points = torch.tensor(np.array(mesh.vertices), dtype=torch.float32)
    screen = project(points + torch.tensor([0.0, 0.0, 4.0]), 512, 512)
    screen[:, :2] = (screen[:, :2] - 256) * 26 + 256  # beyond the corners
    rasterizer = CPURasterizer(threads=1)
    found = rasterizer(screen, faces, 512, 512)
    assert (found.face_ids >= 0).all() and len(faces) > 27_420
    times = []
    for _ in range(8):
        start = time.thread_time()
        rasterizer(screen, faces, 512, 512)
        times.append(time.thread_time() - start)
    assert min(times) < 0.025
