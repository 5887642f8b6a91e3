"""Pairs that change places, and people that serve several steps."""

import math

import pytest
import torch

from presence.bodies import load_body
from presence.datasets import exchange_views
from presence.datasets.exchange import _face_angle
from presence.structures import Camera, View, stack
from presence.testing.toy_training import toy_sample
from presence_plugins.datasets.procedural import ProceduralPeopleDataset


def seen_from(view: View, degrees: float) -> View:
    """The same picture with the camera turned around the person."""
    turn = math.radians(degrees)
    eye = torch.tensor([2 * math.sin(turn), 0.4, 2 * math.cos(turn)])
    return view.replace(camera=Camera.look_at(eye, torch.zeros(3), 0.5, 16, 16))


@pytest.fixture
def batch():
    """Three pairs whose targets are turned by 40, 74 and 140 degrees."""
    samples = [toy_sample(seed) for seed in range(3)]
    turned = zip(samples, (40, -74, 140), strict=True)
    return stack([s.replace(target=seen_from(s.target, degrees)) for s, degrees in turned])


def same(first, second):
    return (first.portrait.rgb == second.portrait.rgb).flatten(1).all(1).tolist()


def test_the_face_angle_is_that_of_the_posed_head():
    body = load_body("annyx")
    params = body.default_params((20,))
    generator = torch.Generator().manual_seed(0)
    pose = 0.3 * torch.randn(params.pose.shape, generator=generator)
    pose[:, 0, 1] = torch.linspace(-3, 3, 20)  # all around
    params = params.replace(pose=pose)
    looks = body(params).skin_rotations[:, body.vertex_parts["head"], :, 2].mean(1)
    camera = stack(
        [Camera.look_at(torch.tensor([0.0, 0.3, 3.0]), torch.zeros(3), 0.5, 16, 16)] * 20
    )
    to_camera = camera.position.expand_as(looks)  # it looks at the origin
    expected = torch.acos(torch.cosine_similarity(looks, to_camera, dim=-1))
    portrait = toy_sample(0).reference.portrait
    found = _face_angle(View(stack([portrait] * 20), params, camera))
    assert (found - expected).abs().max() < math.radians(6)  # the neck's skin lags behind


def test_views_change_places_where_the_target_shows_the_face(batch):
    swapped = exchange_views(batch)
    assert same(swapped.reference, batch.target) == [True, True, False]
    assert same(swapped.target, batch.reference) == [True, True, False]
    assert same(swapped.reference, batch.reference) == [False, False, True]
    cameras = torch.stack([c.cam_from_world for c in (batch.target.camera, batch.reference.camera)])
    assert swapped.reference.camera.cam_from_world[:2].equal(cameras[0, :2])
    assert swapped.target.camera.cam_from_world[2].equal(cameras[0, 2])
    assert swapped.subject.equal(batch.subject)


def test_people_serve_two_steps_and_are_made_once(batch, monkeypatch):
    people = ProceduralPeopleDataset(size=16, reuse=2)
    made = []

    def span(first, count, device, *, step):
        made.append(first)
        return batch.replace(subject=torch.arange(first, first + count))

    monkeypatch.setattr(people, "span", span)
    steps = [people.batch(step, 3, rank=1, world=2) for step in range(4)]
    assert made == [3, 9]
    assert [s.subject.tolist() for s in steps] == [[3, 4, 5]] * 2 + [[9, 10, 11]] * 2
    assert same(steps[1].reference, exchange_views(batch).reference) == [True] * 3
    resumed = people.batch(1, 3, rank=1, world=2)
    assert same(resumed.reference, steps[1].reference) == [True] * 3
