"""Rows become jobs whose fingerprints change with what is computed, and with nothing else."""

from __future__ import annotations

import pytest

from presence.benchmark.rows import Job


def _job(**changes):
    config = dict(
        model=dict(type="ToyAvatarModel"),
        schedule=dict(iterations=1000, batch_size=4, warmup=50),
        data=dict(val=dict(type="ToyPeople")),
    )
    values = dict(
        name="a", seed=0, config=config, budget=dict(samples=100), points=4, train=True,
        weights=None, protocol=dict(sets={}, metrics=[]),
    )  # fmt: skip
    return Job(**{**values, **changes})


@pytest.mark.parametrize(
    "section, trains_again",
    [
        (dict(model=dict(type="ToyAvatarModel", width=3)), True),
        (dict(optimizer=dict(lr=1e-3)), True),
        (dict(seed=3), True),
        (dict(logging=dict(interval=7)), False),
        (dict(checkpoints=dict(keep=1)), False),
        (dict(prefetch=False), False),
    ],
)
def test_what_trains_again(section, trains_again):
    before = _job()
    after = _job(config={**before.config, **section})
    assert (before.training_print != after.training_print) is trains_again
    assert (before.result_print != after.result_print) is trains_again


def test_a_protocol_changes_the_result_alone():
    before, after = _job(), _job(protocol=dict(sets={}, metrics=[dict(type="SSIM")]))
    assert before.training_print == after.training_print
    assert before.result_print != after.result_print


def test_a_replaced_file_of_weights_is_noticed(tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"one")
    before = _job(weights=str(file)).training_print
    file.write_bytes(b"other")
    assert _job(weights=str(file)).training_print != before


def test_warm_up_and_validations_keep_their_shares():
    config = _job().training_config(200)
    assert config["schedule"] == dict(iterations=200, batch_size=4, warmup=10)
    assert config["validation"]["interval"] == 50


@pytest.mark.parametrize("name, folder", [("LHM-HF", "LHM-HF-seed0"), ("a/b c", "a_b_c-seed0")])
def test_names_become_folders(name, folder):
    assert _job(name=name).folder == folder


def test_sizes_reach_nested_data_sets(toys, build):
    (toys.parent / "nested.py").write_text(
        '_base_ = ["./toy.py"]\n'
        'data = dict(train=dict(_delete_=True, type="BodyCropsDataset", '
        'dataset=dict(type="ToyPeople", size=16)))\n'
    )
    sweep = build(
        toys, "benchmark.pictures={size: 48}", "benchmark.rows.wide={config: nested.py}",
        "benchmark.curve={points: 1, data: {type: ToyPeople, size: 24}}",
    )  # fmt: skip
    (job,) = sweep._plan("wide", sweep.rows["wide"], [0])
    assert job.config["data"]["train"]["dataset"]["size"] == 48
    assert job.config["data"]["val"] == dict(type="ToyPeople", size=24)
