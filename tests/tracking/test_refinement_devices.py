"""The three stages, FLAME's head among them, find the same bodies on the GPU as on the CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from presence.bodies.flame import Flame
from presence.geometry import axis_angle_to_matrix
from presence.structures import Tracking, stack
from presence.tracking.refinement import (
    BatchRig,
    FrameStates,
    RefineOptions,
    Refiner,
    gather,
    losses,
)
from presence.tracking.refinement.flame_head import FlameHead, FlameTrack
from presence.tracking.refinement.posing import seen_by_camera

SIZE = 800
CENTRE = torch.tensor([SIZE / 2, SIZE / 2])

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def truth(body, seen):
    """Three poses of one person before one camera, and what a perfect detector says of them."""
    people = [seen.params(0, yaw) for yaw in (0.1, 0.2, 0.3)]
    camera = seen.camera(people[0], "full", SIZE)
    states = [seen_by_camera(body, Tracking(person, camera)) for person in people]
    detections = [seen.detect(person, camera) for person in people]
    return FrameStates.from_params(stack(states)), detections, float(camera.K[0, 0])


def moved(states):
    """The same states with every body joint turned a little."""
    turn = torch.zeros(*states.rotations.shape[:2], 3)
    turn[:, :22] = 0.08 * torch.randn(
        len(states), 22, 3, generator=torch.Generator().manual_seed(0)
    )
    return dataclasses.replace(states, rotations=axis_angle_to_matrix(turn) @ states.rotations)


def flame_of(body):
    """The body's own head as a FLAME without shapes, and its vertices' numbers."""
    ids = body.vertex_parts["head"][::16]
    count = len(ids)
    regressor, weights = torch.zeros(5, count), torch.zeros(count, 5)
    regressor[:, :4], weights[:, 1] = 0.25, 1.0
    directions, faces = torch.zeros(count, 3, 310), torch.zeros(1, 3)
    head = body.v_template[ids]
    return Flame(head, faces, directions, torch.zeros(count, 3, 36), regressor, weights), ids


@pytest.mark.parametrize("with_flame", [False, True])
def test_stages_agree_between_devices(body, landmarks, truth, with_flame):
    states, detections, focal = truth
    start, evidence = moved(states), gather(detections, [None] * 3, SIZE, SIZE)
    flame = None
    if with_flame:
        model, ids = flame_of(body)
        head, shape, expression = FlameHead(body, model, ids), torch.zeros(300), torch.zeros(3, 10)
        points = head.head_points(states, shape, expression, head.affine(states.betas, shape))
        pixels, _ = losses.project(points, focal, CENTRE)
        flame = head, FlameTrack(shape, expression, pixels, torch.tensor([1.0, 1.0, 0.0]))
    found = {}
    for device in ("cpu", "cuda"):
        # Few steps: Adam's signs of tiny slopes drift apart over many.
        refiner = Refiner(body, landmarks, RefineOptions(steps=0.2), device)
        refined = refiner(start, evidence, focal, flame=flame)
        assert refined.rotations.device.type == device
        found[device] = refined.to("cpu")

    rig = BatchRig(body, Refiner(body, landmarks).rig)
    points = {d: rig(s)[0] for d, s in found.items()}
    before = rig(start)[0]
    change = (points["cpu"] - before).norm(dim=-1).mean()
    apart = (points["cpu"] - points["cuda"]).norm(dim=-1)
    assert change > 0.01  # m: the stages do something
    assert apart.mean() < 2e-3  # m
    assert apart.max() < 2e-2
