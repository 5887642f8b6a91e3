import math

import numpy as np
import torch

from presence.structures import Camera


def test_projection_matches_written_out_algebra():
    generator = np.random.default_rng(0)
    eye, target = np.array([1.0, 2.0, 5.0]), np.array([0.2, 0.1, 0.0])
    camera = Camera.look_at(
        torch.tensor(eye), torch.tensor(target), math.radians(35), width=320, height=200
    )
    points = generator.normal(size=(50, 3))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    relative = points - eye
    x, y, z = relative @ right, relative @ down, relative @ forward
    focal = 100 / math.tan(math.radians(17.5))
    px, depth = camera.project(torch.tensor(points))
    np.testing.assert_allclose(px[:, 0], focal * x / z + 160, atol=1e-9)
    np.testing.assert_allclose(px[:, 1], focal * y / z + 100, atol=1e-9)
    np.testing.assert_allclose(depth, z, atol=1e-12)


def test_world_up_is_up_in_the_picture_and_left_hand_is_on_the_right():
    """A person at the origin who faces +z, seen from the front: +y is up, their left is +x."""
    camera = Camera.look_at(torch.tensor([0.0, 0, 3]), torch.zeros(3), 0.5, 100, 100)
    (head, left), _ = camera.project(torch.tensor([[0.0, 0.3, 0], [0.3, 0.0, 0]]))
    assert head[1] < 50 and left[0] > 50


def test_resizing_and_cropping_move_pixels_as_pictures_do():
    camera = Camera.look_at(torch.tensor([0.5, 0, 3]), torch.zeros(3), 0.5, 100, 80)
    points = torch.randn(20, 3) * 0.2
    px, _ = camera.project(points)
    torch.testing.assert_close(
        camera.resized(200, 40).project(points)[0], px * torch.tensor([2.0, 0.5])
    )
    torch.testing.assert_close(
        camera.cropped(7, -3, 50, 50).project(points)[0],
        px - torch.tensor([7.0, -3.0]),
        atol=1e-4,
        rtol=1e-4,
    )


def test_position_is_where_it_was_put():
    eye = torch.randn(4, 3)
    camera = Camera.look_at(eye, torch.zeros(4, 3), 0.4, 10, 10)
    torch.testing.assert_close(camera.position, eye)


def test_a_picture_contains_its_pixels():
    camera = Camera.look_at(torch.tensor([0.0, 0, 3]), torch.zeros(3), 0.5, 100, 80)
    px = torch.tensor([[[0.0, 0.0], [100.0, 80.0], [50.0, 40.0]], [[-1, 9], [9, 81], [101, 9]]])
    assert camera.contains(px).tolist() == [[True] * 3, [False] * 3]
