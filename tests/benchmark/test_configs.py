"""The sweeps that are shipped give every row the same budget, and equal terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from presence.benchmark.paper import paper_figures
from presence.config import load_config
from presence.engine.settings import TrainSettings

FOLDER = Path(__file__).parents[2] / "configs" / "benchmarks"


def _jobs(name, build):
    sweep = build(FOLDER / f"{name}.py")
    borrowed = {n: "w" for n, r in sweep.rows.items() if r.weights_of}
    return [
        job
        for row, options in sweep.rows.items()
        for job in sweep._plan(row, options, [0], weights=borrowed.get(row))
    ]


@pytest.mark.parametrize("name", ["halfbody", "ablations", "table2", "tiny"])
def test_rows_can_be_planned_on_equal_terms(name, build):
    jobs = _jobs(name, build)

    assert len({str(job.budget) for job in jobs}) == 1
    assert len({job.batch_size for job in jobs}) == 1
    assert len({str(job.protocol) for job in jobs}) == 1
    borrowed = [row for row in build(FOLDER / f"{name}.py").rows.values() if row.weights_of]
    assert len({job.result_print for job in jobs}) == len(jobs)
    given = [row for row in build(FOLDER / f"{name}.py").rows.values() if row.given]
    assert sum(not job.train for job in jobs) <= len(borrowed) + len(given) + 1  # and the copy
    assert all((FOLDER / row.weights).is_file() for row in given)
    assert set(jobs[0].protocol["sets"]) - {"wan"} == {"head", "half", "full"}


def test_subjects_of_the_comparison_are_held_out_and_a_hundred(build):
    (job, *_) = _jobs("halfbody", build)
    for options in job.protocol["sets"].values():
        assert options["split"] == "test" and options["num_subjects"] == 100
    assert job.config["data"]["train"]["split"] == "train"


def test_table_2_is_trained_and_measured_as_the_paper_says(build):
    """Section 4.1: 8 a GPU on 4 GPUs. The full model has the figures of the 200 synthetic clips."""
    sweep = build(FOLDER / "table2.py")
    for job in _jobs("table2", build):
        schedule = TrainSettings.from_config(job.config).schedule
        assert schedule.batch_size * schedule.accumulate == 32
        steps = job.budget["samples"] / job.batch_size / schedule.accumulate
        own = load_config(FOLDER.parent / "dualuv_halfbody_sapiens1b.py").schedule
        assert steps == own.iterations
        warmup = job.training_config(800_000)["schedule"]["warmup"]
        assert warmup / schedule.accumulate == own.warmup
    clips = sweep.protocol["sets"]["wan"]
    assert (clips["type"], clips["count"]) == ("ClipFolder", 200)
    shown = {
        (name, column): figures
        for name in sweep.protocol["sets"]
        for row in sweep.rows.values()
        for column, figures in paper_figures(row.paper, name, sweep.paper_columns).items()
    }
    assert set(shown) == {("wan", "Upper-Wan")}


def test_shares_of_the_people_are_those_of_table_2(build):
    jobs = {job.name: job for job in _jobs("ablations", build)}
    people = jobs["full"].budget["samples"] / jobs["full"].config["data"]["train"]["reuse"]
    for name, share in (("33% of the people", 0.33), ("3% of the people", 0.03)):
        train = jobs[name].config["data"]["train"]
        assert train["finite"] and train["num_subjects"] == pytest.approx(share * people, rel=0.02)


def test_lhm_opens_its_clamp_over_the_same_share_of_the_training(build):
    own = load_config(FOLDER.parent / "lhm_halfbody.py")
    shares = [
        step / own["schedule"]["iterations"] for step in own["model"]["decoder"]["scale_steps"]
    ]
    for job in _jobs("halfbody", build):
        if job.name.startswith("LHM"):
            iterations = job.budget["samples"] / job.batch_size
            steps = job.config["model"]["decoder"]["scale_steps"]
            assert [step / iterations for step in steps] == pytest.approx(shares, abs=0.01)
