"""The procedural data set: indices, steps, ranks and splits."""

import pickle

import pytest
import torch

from presence.bodies import load_body
from presence.registry import DATASETS
from presence.synthesis import FIRST_SEED


@pytest.fixture(scope="module")
def data():
    return DATASETS.build(
        dict(type="ProceduralPeopleDataset", num_subjects=3, split="val", size=(40, 32),
             body=load_body("annyx"), target_yaw_range=(30, 60))
    )  # fmt: skip


def test_by_index(data):
    assert len(data) == 3
    first = data[1]
    assert int(first.subject) == FIRST_SEED["val"] + 1
    assert first.reference.portrait.rgb.shape == (3, 40, 32)
    assert first.reference.camera.height == 40 and first.reference.camera.width == 32
    assert torch.equal(first.target.portrait.rgb, data[1].target.portrait.rgb)
    assert int(data[-1].subject) == FIRST_SEED["val"] + 2
    with pytest.raises(IndexError):
        data[3]


def test_steps_and_ranks_never_share_a_person(data):
    seen = []
    for step in range(2):
        for rank in range(2):
            seen += data.batch(step, 2, "cpu", rank=rank, world=2).subject.tolist()
    assert sorted(seen) == list(range(FIRST_SEED["val"], FIRST_SEED["val"] + 8))


def test_a_step_repeats_and_equals_the_index(data):
    batch, alone = data.batch(0, 2), data[1]
    assert torch.equal(batch.target.portrait.rgb, data.batch(0, 2).target.portrait.rgb)
    difference = batch.target.portrait.rgb[1] - alone.target.portrait.rgb
    assert difference.abs().mean() < 1e-4
    assert torch.equal(batch.target.body.pose[1], alone.target.body.pose)


def test_travels_to_another_process(data):
    data.batch(0, 1)
    sent = pickle.dumps(data)
    assert len(sent) < 100e6
    there = pickle.loads(sent)
    assert torch.equal(there[0].target.portrait.rgb, data[0].target.portrait.rgb)


def test_splits_do_not_overlap():
    assert FIRST_SEED["test"] + 100_000 <= FIRST_SEED["val"] < FIRST_SEED["train"]


def test_views_are_turned_as_asked(data):
    forward = torch.stack(
        [getattr(data.batch(0, 4), v).camera.cam_from_world[:, 2, :3]
         for v in ("reference", "target")]
    ) * torch.tensor([1.0, 0.0, 1.0])  # fmt: skip
    forward = torch.nn.functional.normalize(forward, dim=-1)
    degrees = torch.rad2deg(torch.acos((forward[0] * forward[1]).sum(-1)))
    assert ((degrees > 29.9) & (degrees < 60.1)).all()
