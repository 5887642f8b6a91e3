from __future__ import annotations

import dataclasses

import pytest
import torch

from presence.bodies.flame import Flame
from presence.errors import AssetError
from presence.geometry import axis_angle_to_matrix
from presence.structures import PartModel
from presence.tracking.refinement.alignment import fit_affine
from presence.tracking.refinement.carrying import carried_over
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack, refine_flame_head
from presence.tracking.refinement.losses import project
from presence.tracking.refinement.posing import FrameStates

AFFINE = torch.tensor([[0.9, 0.1, 0.0, 0.02], [0.0, 1.1, 0.05, -1.4], [0.0, 0.0, 0.95, 0.1]])


@pytest.fixture(scope="module")
def ids(body):
    return body.vertex_parts["head"][::16]


def flame_like(body, ids, seed=0):
    """A FLAME whose mean head is the body's, seen through an affine map."""
    generator = torch.Generator().manual_seed(seed)
    head = body.v_template[ids] @ AFFINE[:, :3].T + AFFINE[:, 3]
    count = len(ids)
    regressor, weights = torch.zeros(5, count), torch.zeros(count, 5)
    regressor[:, :4], weights[:, 1] = 0.25, 1.0
    shapedirs = 0.003 * torch.randn(count, 3, 310, generator=generator)
    faces, posedirs = torch.zeros(1, 3), torch.zeros(count, 3, 36)
    return Flame(head, faces, shapedirs, posedirs, regressor, weights)


@pytest.fixture
def head(body, ids):
    return FlameHead(body, flame_like(body, ids), ids)


def test_affine_fit_is_the_least_squares_one():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(40, 3, generator=generator)
    target = source @ AFFINE[:, :3].T + AFFINE[:, 3]
    assert torch.allclose(fit_affine(source, target), AFFINE, atol=1e-5)
    noisy = target + 0.1 * torch.randn(40, 3, generator=generator)
    best = fit_affine(source, noisy)

    def error(affine):
        return float((source @ affine[:, :3].T + affine[:, 3] - noisy).square().sum())

    for change in torch.randn(20, 3, 4, generator=generator):
        assert error(best) <= error(best + 0.01 * change) + 1e-6


def test_the_mean_head_takes_the_bodys_place(body, head, ids):
    betas = torch.zeros(body.num_betas)
    shape, expression = torch.zeros(300), torch.zeros(1, 10)
    rest = head.rest(betas, shape, expression, head.affine(betas, shape))
    assert torch.allclose(rest[0], body.v_template, atol=1e-4)
    smile = torch.zeros(1, 10)
    smile[0, 3] = 2.0
    other = head.rest(betas, shape, smile, head.affine(betas, shape))
    moved = (other[0] - rest[0]).norm(dim=-1) > 1e-5
    assert moved[ids].float().mean() > 0.95 and int(moved.sum()) <= len(ids)


def test_head_points_are_where_the_body_would_put_them(body, head, seen, ids):
    params = seen.params(0).replace(
        betas=torch.zeros(body.num_betas), expression=torch.zeros(body.num_expression)
    )
    shape = torch.zeros(300)
    points = head.head_points(
        FrameStates.from_params(params.unsqueeze()),
        shape,
        torch.zeros(1, 10),
        head.affine(params.betas, shape),
    )
    assert torch.allclose(points[0], body(params).vertices[ids], atol=1e-4)


def test_dense_refinement_brings_the_head_onto_the_pixels(body, head, seen):
    params = seen.params(1).replace(
        betas=torch.zeros(body.num_betas), translation=torch.tensor([0.0, 0.0, -4.0])
    )
    truth = FrameStates.from_params(
        params.unsqueeze().replace(expression=torch.zeros(1, body.num_expression))
    )
    expression = torch.zeros(2, 10)
    expression[:, 2] = 1.5
    truth = FrameStates(
        truth.rotations.repeat(2, 1, 1, 1),
        truth.translation.repeat(2, 1),
        truth.betas,
        truth.expression.repeat(2, 1),
    )
    shape = torch.zeros(300)
    affine = head.affine(truth.betas, shape)
    points = head.head_points(truth, shape, expression, affine)
    pixels, _ = project(points, 1500.0, torch.tensor([200.0, 200.0]))
    start = truth.rotations.clone()
    start[:, 15] = axis_angle_to_matrix(torch.tensor([0.0, 0.12, 0.05])) @ start[:, 15]
    states = dataclasses.replace(truth, rotations=start)
    track = FlameTrack(shape, torch.zeros(2, 10), pixels, torch.tensor([1.0, 0.0]))

    def gaps(at, flame):
        found = head.head_points(at, flame.shape, flame.expression, affine)
        return (project(found, 1500.0, torch.tensor([200.0, 200.0]))[0] - pixels).norm(dim=-1)

    found, flame = refine_flame_head(head, states, track, 1500.0, (400, 400))
    before, after = gaps(states, track).mean(-1), gaps(found, flame).mean(-1)
    assert after[0] < 0.3 * before[0]
    # Where FLAME tracking failed there is nothing to follow: the head stays.
    assert torch.allclose(found.rotations[1], states.rotations[1], atol=1e-3)
    assert flame.expression[1].abs().max() < 1e-3
    # Whatever its pixels are; a shape that is known stays, and held frames do.
    elsewhere = track.pixels.clone()
    elsewhere[1] = 1e4
    other = dataclasses.replace(track, pixels=elsewhere)
    again, _ = refine_flame_head(head, states, other, 1500.0, (400, 400))
    assert torch.equal(again.rotations, found.rotations)
    known = dataclasses.replace(track, known=True, valid=torch.ones(2))
    again, flame = refine_flame_head(head, states, known, 1500.0, (400, 400), held=1)
    assert torch.equal(flame.shape, shape) and torch.equal(flame.expression[0], torch.zeros(10))
    assert torch.equal(again.translation[0], states.translation[0])
    away = (again.rotations - states.rotations).abs().amax((-1, -2, -3))
    assert away[0] < 1e-6 and gaps(again, flame).mean(-1)[1] < 0.5 * before[1]


def test_a_failed_frame_is_zero_flame(body, ids):
    flame = flame_like(body, ids)
    part = PartModel(
        rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0])),
        translation=torch.tensor([0.0, 0.0, 3.0]),
        K=torch.tensor([[900.0, 0, 100], [0, 900, 100], [0, 0, 1]]),
        shape=torch.ones(300),
        expression=torch.ones(10),
        joints=torch.eye(3).expand(4, 3, 3),
        model="flame2020",
    )
    track = FlameTrack.of_heads(flame, [part, None])
    assert track.valid.tolist() == [1.0, 0.0]
    assert float(track.expression[1].abs().max()) == 0
    assert torch.allclose(track.shape, torch.ones(300))
    root = flame.joint_regressor[0] @ flame.rest(torch.ones(300), torch.ones(10))
    cam = part.place(flame.rest(torch.ones(300), torch.ones(10)), root)
    expected = 900 * cam[:, :2] / cam[:, 2:] + 100
    assert torch.allclose(track.pixels[0], expected, atol=0.01)


def test_correspondences_of_another_model_are_refused(body, ids):
    with pytest.raises(AssetError, match="do not fit"):
        FlameHead(body, flame_like(body, ids), ids[:-1])


def test_frames_between_take_over_what_flame_changed(body, seen):
    params = seen.params(0).unsqueeze()
    one = FrameStates.from_params(params)
    before = FrameStates(
        one.rotations.repeat(5, 1, 1, 1),
        one.translation.repeat(5, 1),
        one.betas,
        torch.linspace(0, 1, 5)[:, None].repeat(1, body.num_expression),
    )
    rotations, jaw = before.rotations.clone(), before.rotations[0, 22]
    for frame, angle in ((1, 0.1), (3, 0.3)):
        rotations[frame, 22] = axis_angle_to_matrix(torch.tensor([angle, 0.0, 0.0])) @ jaw
    place = before.translation.clone()
    place[1, 2], place[2, 2], place[3, 2] = 0.02, 9.0, 0.04
    found = dataclasses.replace(before, rotations=rotations, translation=place)
    mimic, valid = torch.zeros_like(before.expression), torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])
    mimic[1], mimic[2], mimic[3] = 0.5, 9.0, 1.15
    after = carried_over(before, found, mimic, valid)
    # FLAME says 0.25 and 0.4 more than the face points: 0.325 more than they in between.
    wanted = torch.tensor([0.0, 0.5, 0.5 + 0.325, 1.15, 1.0])
    torch.testing.assert_close(after.expression[:, 0], wanted)
    between = axis_angle_to_matrix(torch.tensor([0.2, 0.0, 0.0])) @ jaw
    torch.testing.assert_close(after.rotations[2, 22], between, atol=1e-5, rtol=0)
    shifts = torch.tensor([0.0, 0.02, 0.03, 0.04, 0.0])
    torch.testing.assert_close(after.translation[:, 2], shifts)
    assert torch.equal(after.rotations[[1, 3]], rotations[[1, 3]])
    torch.testing.assert_close(after.rotations[[0, 4]], before.rotations[[0, 4]])
