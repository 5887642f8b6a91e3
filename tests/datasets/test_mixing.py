"""Shares, order and exact resume of mixed data sets."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from presence.datasets import Interleaving
from presence.datasets.sources import shuffled, take
from presence.engine import train
from presence.engine.checkpoint import list_checkpoints, read_checkpoint
from presence.errors import ConfigError
from presence.registry import DATASETS
from presence.testing.toy_training import toy_config

TOYS = [
    dict(type="ToyPeople", num_subjects=5, batches=False),
    dict(type="ToyPeople", num_subjects=7, first_seed=100, batches=False),
]


def test_spans_are_what_counting_the_turns_gives():
    turns = Interleaving([0.5, 0.3, 0.2], seed=3, block=10)
    order = np.array([turns.source(position) for position in range(57)])
    for first, count in ((0, 4), (3, 17), (10, 10), (39, 18)):
        for number, (start, amount) in enumerate(turns.spans(first, count)):
            assert start == (order[:first] == number).sum()
            assert amount == (order[first : first + count] == number).sum()


def test_every_block_holds_the_exact_shares_in_another_order():
    turns = Interleaving([1, 2, 7], block=100)
    blocks = [[turns.source(100 * b + k) for k in range(100)] for b in range(3)]
    assert all(np.bincount(block).tolist() == [10, 20, 70] for block in blocks)
    assert blocks[0] != blocks[1] != blocks[2]
    assert Interleaving([1, 1, 1], block=100).counts.sum() == 100


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [1e-6, 1]])
def test_weights_that_cannot_be(weights):
    with pytest.raises(ConfigError, match="weight"):
        Interleaving(weights)


def test_a_shuffling_visits_everything_in_every_pass():
    long = shuffled(6, 0, 18)
    assert [sorted(long[k : k + 6]) for k in (0, 6, 12)] == [list(range(6))] * 3
    assert shuffled(6, 4, 9) == long[4:13] and long[:6] != long[6:12]


def test_processes_share_one_sequence():
    """Two processes with batches of 3 see what one process with batches of 6 sees."""
    mixed = DATASETS.build(dict(type="MixedDataset", sources=TOYS, weights=[1, 3], block=8))
    for step in range(4):
        whole = mixed.batch(step, 6, "cpu").subject.tolist()
        halves = [mixed.batch(step, 3, "cpu", rank=r, world=2).subject.tolist() for r in (0, 1)]
        assert sorted(whole) == sorted(halves[0] + halves[1])
    seen = [s for step in range(8) for s in mixed.batch(step, 6, "cpu").subject.tolist()]
    assert sum(s < 100 for s in seen) == 12  # a quarter of 48


def test_sources_that_make_batches_continue_where_they_were():
    people = DATASETS.build(
        dict(type="ProceduralPeopleDataset", size=32, supersample=1, split="test", num_subjects=3)
    )
    mixed = DATASETS.build(dict(type="MixedDataset", sources=[people, TOYS[0]], block=2))
    source_turns = [mixed.turns.spans(4 * step, 4)[0] for step in range(3)]
    assert source_turns == [(0, 2), (2, 2), (4, 2)]
    assert take(people, 2, 2, "cpu").subject.tolist() == [2, 3]
    assert people.batch(1, 2, "cpu").subject.tolist() == [2, 3]
    people.finite = True
    assert people.span(2, 2, "cpu").subject.tolist() == [2, 0]


def test_sources_by_name():
    named = dict(rendered=TOYS[0], generated=TOYS[1])
    mixed = DATASETS.build(dict(type="MixedDataset", sources=named, weights=dict(rendered=0)))
    assert len(mixed) == 7 and int(mixed[0].subject) == 100
    for weights, said in (
        (dict(renderd=1), "Did you mean `rendered`"),
        ([1, 2, 3], "2 sources, 3 weights"),
    ):
        with pytest.raises(ConfigError, match=said):
            DATASETS.build(dict(type="MixedDataset", sources=named, weights=weights))


def test_pictures_of_different_sizes_are_refused():
    mixed = DATASETS.build(
        dict(type="MixedDataset", sources=[TOYS[0], {**TOYS[1], "size": 8}], block=2)
    )
    with pytest.raises(ConfigError, match="one size"):
        mixed.batch(0, 4, "cpu")


def test_validation_by_index_takes_turns_too():
    mixed = DATASETS.build(dict(type="MixedDataset", sources=TOYS, block=2))
    subjects = [int(mixed[k].subject) for k in range(6)]
    assert sorted(subjects) == [0, 1, 2, 100, 101, 102]


@pytest.mark.parametrize("batches", [False, True])
def test_a_resumed_run_sees_what_it_would_have_seen(tmp_path, batches):
    """Stopped after half and continued: the last state has the same bits."""
    sources = [TOYS[0], {**TOYS[1], "batches": batches}]
    train_data = dict(type="MixedDataset", sources=sources, weights=[2, 1], block=6)

    def config():
        changed = toy_config(schedule=dict(iterations=12), checkpoints=dict(interval=6, keep=0))
        return Config({**changed, "data": {**changed["data"], "train": train_data}})

    train(config(), work_dir=tmp_path / "whole")
    middle = list_checkpoints(tmp_path / "whole")[0]
    train(config(), work_dir=tmp_path / "resumed", resume=middle)
    states = [
        read_checkpoint(list_checkpoints(tmp_path / name)[-1])["state_dict"]
        for name in ("whole", "resumed")
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
