"""Framing: the look-at point in closed form, what each framing shows, and how views are turned."""

import numpy as np
import pytest
import torch

from presence.synthesis import ProceduralPeople
from presence.synthesis.draws import Draws
from presence.synthesis.framing import draw_viewpoints, look_at_point, place_cameras

SIZE = (64, 64)


def cameras(people, framing, count=12, **options):
    people = _with(people, framings={framing: 1.0}, **options)
    recipe = people.draw(range(200, 200 + count))
    mesh = people.body(recipe.body)
    camera = place_cameras(recipe.viewpoint, mesh, recipe.body.pose[..., 0, 1], *SIZE)
    return mesh, camera, recipe


def _with(people, **options):
    clone = object.__new__(ProceduralPeople)
    clone.__dict__ = {**people.__dict__, **options}
    return clone


def test_look_at_is_equations_16_and_17(people):
    mesh = people.body(people.draw([1, 2]).body)
    blend = torch.tensor([[0.25, 0.5], [0.0, 1.0]])
    point = look_at_point(mesh, blend)
    for b in range(2):
        for n in range(2):
            vertices, joints = mesh.vertices[b, n].numpy(), mesh.joints[b, n].numpy()
            expected = 0.5 * (joints[0] + joints[15])
            w = float(blend[b, n])
            middle = 0.5 * (vertices[:, 1].min() + vertices[:, 1].max())
            expected[1] = w * middle + (1 - w) * joints[15][1]
            assert np.allclose(point[b, n], expected, atol=1e-5)


def test_head_framing_shows_the_head_and_no_pelvis(people):
    mesh, camera, _ = cameras(people, "head")
    px, depth = camera.project(mesh.joints)
    inside = ((px >= 0) & (px < 64)).all(-1)
    assert inside[..., 15].all() and (depth > 0).all()
    assert not inside[..., 0].any()


def test_half_framing_shows_head_and_chest_but_no_feet(people):
    mesh, camera, _ = cameras(people, "half")
    px, _ = camera.project(mesh.joints)
    inside = ((px >= 0) & (px < 64)).all(-1)
    assert inside[..., [12, 15, 9]].all()
    assert not inside[..., [7, 8]].any()


def test_full_framing_shows_crown_and_feet(people):
    mesh, camera, _ = cameras(people, "full", count=24)
    px, _ = camera.project(torch.stack([mesh.vertices.amax(-2), mesh.vertices.amin(-2)], -2))
    height = px[..., 1]
    assert ((height >= 0) & (height < 64)).float().mean() > 0.9
    feet, _ = camera.project(mesh.joints[..., [7, 8], :])
    assert ((feet >= 0) & (feet < 64)).float().mean() > 0.95


def test_target_is_turned_by_the_asked_angle(people):
    _, camera, recipe = cameras(people, "half", target_yaw=((1.0, 30.0, 60.0),))
    turned = torch.rad2deg((recipe.viewpoint.yaw[:, 1] - recipe.viewpoint.yaw[:, 0]).abs())
    assert ((turned >= 29.99) & (turned <= 60.01)).all()
    forward = camera.cam_from_world[..., 2, :3] * torch.tensor([1.0, 0.0, 1.0])
    forward = torch.nn.functional.normalize(forward, dim=-1)
    seen = torch.rad2deg(torch.acos((forward[:, 0] * forward[:, 1]).sum(-1)))
    assert torch.allclose(seen, turned, atol=0.05)


def test_fields_of_view_centre_on_twenty_degrees():
    view = draw_viewpoints(
        Draws(range(3000)), 2, framings={"any": 1.0}, target_yaw=((1, 0, 90),),
        reference_yaw=((1, 0, 30),),
    )  # fmt: skip
    fov = torch.rad2deg(view.fov[:, 0])
    assert fov.median().item() == pytest.approx(20.0, abs=1.0)
    assert fov.min() >= 13.9 and fov.max() <= 60.1
