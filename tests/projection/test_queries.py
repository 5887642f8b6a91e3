"""Query points on a body: even by area, repeatable, and where the closed forms say."""

from __future__ import annotations

import math

import pytest
import torch

from presence.errors import ConfigError
from presence.projection.queries import (
    BoundPoints,
    join,
    part_vertices,
    points_inside,
    sample_surface,
    subdivided_vertices,
)
from presence.structures import Avatar, Camera, Gaussians
from presence.testing.toy_bodies import SphereBody


@pytest.fixture(scope="module")
def body():
    return SphereBody(32, 64)


def test_points_are_even_by_area(body):
    """Archimedes: on a sphere, height and longitude of even points are uniform."""
    points = sample_surface(body.topology, body.template, 8000).interpolate(body.template)
    height = (points[:, 1] / 0.5).sort().values
    uniform = torch.linspace(-1, 1, 8000)
    assert (height - uniform).abs().max() < 0.03  # Kolmogorov-Smirnov, 5 percent: 0.015 of 1
    around = (torch.atan2(points[:, 0], points[:, 2]) / math.pi).sort().values
    assert (around - uniform).abs().max() < 0.03
    assert (points.norm(dim=-1) > 0.49).all()


def _draw(body, inside, count=20_000):
    return sample_surface(body.topology, body.template, count, inside=inside)


def test_the_seed_fixes_the_points_and_parts_bound_them(body):
    upper = part_vertices(body.vertex_parts, ("head",), body.topology.num_vertices)
    first, again, other = (
        sample_surface(body.topology, body.template, 50, inside=upper, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(first.barycentrics, again.barycentrics)
    assert not torch.equal(first.barycentrics, other.barycentrics)
    ring = 0.5 * math.sin(math.pi / 32)  # one ring of faces may go to either side
    assert (first.interpolate(body.template)[:, 1] > -ring).all()
    lower = sample_surface(body.topology, body.template, 2000, inside=~upper)
    assert (lower.interpolate(body.template)[:, 1] < ring).all()
    used = [set(map(tuple, _draw(body, part).vertex_ids.tolist())) for part in (upper, ~upper)]
    assert not used[0] & used[1]  # no face belongs to both parts, and hardly one is never drawn
    assert len(used[0] | used[1]) > 0.99 * len(body.topology.faces)
    assert points_inside(first, upper).float().mean() > 0.9
    torch.testing.assert_close(first.barycentrics.sum(-1), torch.ones(50))
    with pytest.raises(ValueError, match="no face"):
        sample_surface(body.topology, body.template, 5, inside=torch.zeros_like(upper))
    with pytest.raises(ConfigError, match="no part `haed`. Did you mean `head`"):
        part_vertices(body.vertex_parts, ("haed",), body.topology.num_vertices)


def test_uv_goes_with_the_points(body):
    """The sphere's v is its polar angle, linear along each triangle's edges."""
    binding = subdivided_vertices(body.topology)
    faces, faces_uv = body.topology.faces, body.topology.faces_uv
    for index in range(0, len(binding.uv), 97):
        ids = binding.vertex_ids[index]
        match = (faces == ids).all(-1).nonzero()[:, 0]
        corners = body.topology.uv[faces_uv[match]]
        expected = (corners * binding.barycentrics[index][:, None]).sum(-2)
        assert (expected - binding.uv[index]).abs().amax(-1).min() < 1e-6


def test_bound_points_move_but_are_not_saved(body):
    one = subdivided_vertices(body.topology)
    module = BoundPoints(join(one, one))
    assert not module.state_dict() and len(module) == 2 * len(one.uv)
    assert torch.equal(
        module.binding.interpolate(body.template)[: len(one.uv)], one.interpolate(body.template)
    )


def test_kept_orientations_stay_while_their_offsets_turn(body):
    binding = sample_surface(body.topology, body.template, 10)
    person = body.default_params((1,))
    pose = person.pose.clone()
    pose[:, 0, 1] = math.pi / 2  # a quarter turn to the left: +x goes to -z
    gaussians = Gaussians(
        torch.tensor([0.1, 0.0, 0.0]).expand(1, 10, 3),
        torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 10, 4),
        torch.full((1, 10, 3), 0.01),
        torch.ones(1, 10),
        torch.ones(1, 10, 3),
    )
    eye = torch.tensor([[0.0, 0.0, 2.0]])
    keep = torch.arange(10) < 4
    avatar = Avatar(
        gaussians, person, Camera.look_at(eye, 0 * eye, 0.5, 8, 8), binding, keep_orientation=keep
    )
    mesh = body(person.replace(pose=pose))
    posed = avatar.pose(mesh)
    offsets = posed.means - binding.interpolate(mesh.vertices)
    expected = torch.tensor([0.0, 0.0, -0.1]).expand(1, 10, 3)
    torch.testing.assert_close(offsets, expected, atol=1e-6, rtol=0)
    assert torch.equal(posed.quaternions[:, :4], gaussians.quaternions[:, :4])
    half = math.sqrt(0.5)
    turned = torch.tensor([half, 0.0, half, 0.0]).expand(1, 6, 4)
    torch.testing.assert_close(posed.quaternions[:, 4:], turned, atol=1e-6, rtol=0)
    back = avatar.from_pose(mesh).pose(mesh)
    torch.testing.assert_close(back.quaternions, gaussians.quaternions, atol=1e-6, rtol=0)
    moved = avatar.to("cpu")[0]
    assert moved.keep_orientation is not None and moved.pose(mesh[0]).means.shape == (10, 3)
