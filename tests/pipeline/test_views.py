import pytest
import torch

from presence.errors import ConfigError
from presence.pipeline.views import ORBIT_DEGREES, VIEWS, orbit, plan_cameras
from presence.structures import Camera

PARTS = {
    "head": torch.tensor([0, 1]),
    "right_hand": torch.tensor([2]),
    "left_foot": torch.tensor([3]),
}


def base() -> Camera:
    return Camera.look_at(
        torch.tensor([0.0, 0.3, 4.0]), torch.tensor([0.0, 0.3, 0.0]), 0.25, 200, 200
    )


def points(hand=(-0.2, -0.5, 0.0)) -> torch.Tensor:
    return torch.tensor([[0.0, 0.7, 0.0], [0.0, 0.5, 0.1], hand, [0.1, -1.0, 0.0]])


def planned(view: str, vertices: dict, frames: int = 12) -> list[Camera]:
    return plan_cameras(view, base(), vertices, PARTS, frames, 100)


def test_portrait_view_is_the_portraits_own_window_when_nothing_leaves_it():
    cameras = planned("portrait", {0: points(), 6: points()})
    assert len(cameras) == 12
    expected = base().resized(100, 100)
    torch.testing.assert_close(cameras[3].K, expected.K, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(cameras[3].cam_from_world, expected.cam_from_world)


def test_portrait_view_widens_for_a_raised_hand_and_keeps_its_lower_edge():
    raised = points(hand=(-0.8, 0.9, 0.1))
    camera = planned("portrait", {0: points(), 6: raised})[0]
    px, _ = camera.project(raised)
    assert (px[:3] > 0).all() and (px[:3] < 100).all()
    bottom = base().project(torch.tensor([[0.0, -0.208, 0.0]]))[0][0, 1] / 200
    after = camera.project(torch.tensor([[0.0, -0.208, 0.0]]))[0][0, 1] / 100
    assert abs(float(after - 1)) < abs(float(bottom - 1)) + 0.02


def test_full_and_head_show_their_parts_and_little_more():
    for view, ids in (("full", [0, 1, 2, 3]), ("head", [0, 1])):
        px, _ = planned(view, {0: points()})[0].project(points()[ids])
        assert (px > 0).all() and (px < 100).all()
        assert (px.amax(0) - px.amin(0)).max() > (80 if view == "full" else 45)


def test_turntable_goes_once_around_at_one_distance():
    vertices = {i: points() for i in range(0, 12, 3)}
    cameras = planned("turntable", vertices)
    centre = points().mean(0)
    offsets = torch.stack([c.position - centre for c in cameras])
    flat = offsets[:, [0, 2]]
    torch.testing.assert_close(flat.norm(dim=1), flat.norm(dim=1)[:1].expand(12), atol=1e-3, rtol=0)
    assert offsets[:, 1].std() < 1e-4
    angles = torch.rad2deg(torch.atan2(flat[:, 0], flat[:, 1])) % 360
    steps = (angles.roll(-1) - angles) % 360
    torch.testing.assert_close(steps, torch.full((12,), 30.0), atol=1.0, rtol=0)


def test_orbit_turns_towards_the_persons_left_and_keeps_the_centre():
    centre = torch.tensor([0.1, 0.2, 0.3])
    turned = orbit(base(), centre, ORBIT_DEGREES)
    assert turned.position[0] > base().position[0] + 1.0
    before, depth = base().project(centre[None])
    after, turned_depth = turned.project(centre[None])
    torch.testing.assert_close(after, before, atol=1e-2, rtol=0)
    torch.testing.assert_close(turned_depth, depth)


def test_unknown_views_are_named():
    with pytest.raises(ConfigError, match="Did you mean `portrait`"):
        planned("potrait", {0: points()})
    assert all(len(planned(view, {0: points()})) == 12 for view in VIEWS)
