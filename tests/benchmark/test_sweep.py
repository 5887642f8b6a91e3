"""A sweep trains under equal budgets, skips and resumes, and goes on where a row fails."""

from __future__ import annotations

import subprocess
import time

import pytest
import torch
from mmengine.config import Config

from presence.benchmark.launch import worker_command
from presence.benchmark.worker import run_job, write_job
from presence.engine import train
from presence.engine.checkpoint import list_checkpoints, read_weights
from presence.errors import ConfigError
from presence.testing.toy_training import ToyPeople


def test_rows_see_equal_samples_and_are_measured_alike(toys, here, build, results, tmp_path):
    report = build(
        toys, "benchmark.rows.wide.overrides=[model.width=12,schedule.batch_size=3]"
    ).run(tmp_path / "out")

    assert not report.failures
    found = results(tmp_path / "out")
    assert [r["training"]["samples"] for r in found.values()] == [12, 12]
    assert [r["training"]["iterations"] for r in found.values()] == [6, 4]
    assert [p["samples"] for p in found["narrow-seed0"]["training"]["curve"]] == [4, 8, 12]
    sets = found["wide-seed0"]["sets"]
    assert {name: measured["subjects"] for name, measured in sets.items()} == {"half": 3, "full": 2}
    # 3 -> 12 -> 8 channels, 3 x 3 kernels
    assert found["wide-seed0"]["parameters"] == 12 * (27 + 1) + 8 * (12 * 9 + 1)
    assert "| narrow |" in report.table


def test_figures_are_those_of_the_weights_on_the_subjects(toys, here, build, results, tmp_path):
    build(toys).run(tmp_path / "out")
    weights, _ = read_weights(tmp_path / "out/rows/narrow-seed0/work/weights.safetensors")

    total = 0.0
    for subject in (50, 51, 52):
        sample = ToyPeople(1, first_seed=subject, size=32)[0]
        picture = sample.reference.portrait.rgb[None]
        hidden = torch.nn.functional.silu(
            torch.nn.functional.conv2d(
                picture,
                weights["network.0.weight"].float(),
                weights["network.0.bias"].float(),
                padding=1,
            )
        )
        maps = torch.nn.functional.conv2d(
            hidden,
            weights["network.2.weight"].float(),
            weights["network.2.bias"].float(),
            padding=1,
        ).sigmoid()[0]
        drawn = maps[4:7] * maps[7:] + (1 - maps[7:])
        truth = sample.target.portrait
        over = truth.rgb * truth.alpha + (1 - truth.alpha)
        mask = (maps[7:] >= 0.5) | (truth.alpha >= 0.5)
        squared = ((drawn - over) ** 2).mean(0, keepdim=True)[mask].mean()
        total += float(-10 * squared.log10())

    measured = results(tmp_path / "out")["narrow-seed0"]["sets"]["half"]["means"]["novel/psnr"]
    assert measured == pytest.approx(total / 3, abs=1e-3)


def test_finished_rows_are_skipped_and_changed_ones_run_again(toys, here, build, tmp_path):
    out = tmp_path / "out"
    build(toys).run(out)
    here.clear()

    build(toys).run(out)
    assert here == []
    build(toys, "benchmark.rows.wide.overrides=[model.width=10]").run(out)
    assert here == ["wide-seed0"]


def test_a_changed_protocol_measures_again_without_training(toys, here, build, results, tmp_path):
    out = tmp_path / "out"
    build(toys).run(out)
    weights = out / "rows/narrow-seed0/work/weights.safetensors"
    before, trained = weights.stat().st_mtime_ns, results(out)["narrow-seed0"]["training"]

    build(toys, "benchmark.protocol.sets.half.num_subjects=1").run(out)

    after = results(out)["narrow-seed0"]
    assert after["sets"]["half"]["subjects"] == 1
    assert weights.stat().st_mtime_ns == before and after["training"] == trained


def test_a_failing_row_is_reported_and_the_others_go_on(toys, here, build, tmp_path):
    report = build(
        toys, "benchmark.rows.narrow={config: toy.py, overrides: [model.explode_at=3]}"
    ).run(tmp_path / "out")

    assert list(report.failures) == ["narrow seed 0"]
    assert "not finite at iteration 3" in report.failures["narrow seed 0"]
    assert "| wide | " in report.table
    page = (tmp_path / "out/report.html").read_text()
    assert "not finite at iteration 3" in page


def test_the_best_row_gets_more_seeds(toys, here, build, results, tmp_path):
    build(toys, "benchmark.repeat_best={count: 1, seeds: [0, 5], by: half/novel/psnr}").run(
        tmp_path / "out"
    )

    found = results(tmp_path / "out")
    scores = {
        name: found[f"{name}-seed0"]["sets"]["half"]["means"]["novel/psnr"]
        for name in ("narrow", "wide")
    }
    best = max(scores, key=lambda name: scores[name])
    assert set(found) == {"narrow-seed0", "wide-seed0", f"{best}-seed5"}


def test_rows_without_training_are_only_measured(toys, here, build, results, tmp_path):
    build(toys, "benchmark.rows.narrow={config: toy.py, train: false}").run(tmp_path / "out")

    result = results(tmp_path / "out")["narrow-seed0"]
    assert result["training"] == {} and result["parameters"] == 0
    assert not (tmp_path / "out/rows/narrow-seed0/work").exists()


def test_given_weights_are_measured_and_do_not_compete(toys, here, build, results, tmp_path):
    build(toys, "benchmark.rows.narrow=null", "benchmark.budget.samples=200").run(tmp_path / "long")
    file = tmp_path / "long/rows/wide-seed0/work/weights.safetensors"

    report = build(
        toys,
        "benchmark.budget.samples=2",
        "benchmark.rows={narrow: {config: toy.py}, wide: {config: toy.py, overrides: "
        "[model.width=12]}, released: {config: toy.py, overrides: [model.width=12], "
        f"weights: {file}}}}}",
        "benchmark.repeat_best={count: 3, seeds: [1], by: half/novel/psnr}",
    ).run(tmp_path / "out")

    found = results(tmp_path / "out")
    assert found["released-seed0"]["sets"] == results(tmp_path / "long")["wide-seed0"]["sets"]
    assert found["released-seed0"]["training"] == {} and found["released-seed0"]["parameters"] > 0
    assert "released-seed1" not in found and "narrow-seed1" in found
    lines = {line.split(" | ")[0].strip("| "): line for line in report.table.splitlines()}
    scores = {
        n: found[f"{n}-seed0"]["sets"]["half"]["means"]["novel/psnr"]
        for n in ("released", "narrow", "wide")
    }
    assert scores["released"] == max(scores.values())
    assert "**" not in lines["released"] and "**" in lines["narrow"] + lines["wide"]
    text = (tmp_path / "out/report.md").read_text()
    assert "never marked as best: released, from `weights.safetensors`." in text


def test_a_row_measures_the_weights_of_another(toys, here, build, results, tmp_path):
    build(
        toys,
        "benchmark.rows.wide={config: toy.py, weights_of: narrow, overrides: [model.noise=0.5]}",
        "benchmark.rows.narrow={config: toy.py, seeds: [0, 4]}",
    ).run(tmp_path / "out")

    found = results(tmp_path / "out")
    assert here == ["narrow-seed0", "narrow-seed4", "wide-seed0", "wide-seed4"]
    # The noise is drawn in training alone, so that the same weights measure the same.
    for seed in (0, 4):
        assert found[f"wide-seed{seed}"]["sets"] == found[f"narrow-seed{seed}"]["sets"]
        assert not (tmp_path / f"out/rows/wide-seed{seed}/work").exists()
    assert found["narrow-seed0"]["sets"] != found["narrow-seed4"]["sets"]


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(toys, build, tmp_path):
    (job,) = build(toys, "benchmark.rows.wide=null", "benchmark.budget.samples=400")._plan(
        "narrow", build(toys).rows["narrow"], [0]
    )
    train(Config(job.training_config(200)), work_dir=tmp_path / "unbroken")
    folder = tmp_path / "run"
    write_job(folder, job)
    with subprocess.Popen(worker_command(folder), stdin=subprocess.PIPE) as worker:
        while len(list_checkpoints(folder / "work")) < 2 and worker.poll() is None:
            time.sleep(0.02)
        worker.kill()
    reached = len(list_checkpoints(folder / "work"))
    assert 2 <= reached < 20 and not (folder / "result.json").exists()

    assert run_job(folder) == 0

    mine, _ = read_weights(folder / "work/weights.safetensors")
    theirs, _ = read_weights(tmp_path / "unbroken/weights.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    log = (folder / "work/scalars.jsonl").read_text()
    assert '"iteration": 200' in log and not list_checkpoints(folder / "work")


def test_a_budget_in_seconds_gives_steps_by_a_trial(
    toys, here, build, results, tmp_path, monkeypatch
):
    from presence.benchmark import curves

    monkeypatch.setattr(curves, "step_seconds", lambda work: 0.25)
    build(toys, "benchmark.budget={seconds: 2}", "benchmark.rows.wide=null").run(tmp_path / "out")
    assert results(tmp_path / "out")["narrow-seed0"]["training"]["iterations"] == 8


@pytest.mark.parametrize(
    "override, complaint",
    [
        ("benchmark.budget={samples: 3, seconds: 4}", "either samples or seconds"),
        ("benchmark.rows.wide.overrides=[model.widht=3]", "Did you mean `width`"),
        ("benchmark.rows.wide={config: nowhere.py}", "does not exist"),
        ("benchmark.rows.wide={config: toy.py, seed: 3}", "Did you mean `seeds`"),
        ("benchmark.protocol={sets: {}, metric: []}", "Did you mean `metrics`"),
        ("benchmark.rows.wide={config: toy.py, weights_of: broad}", "got `broad`"),
        ("benchmark.launcher=slurm", "Available: auto, local, ray"),
    ],
)
def test_mistakes_are_said_before_anything_runs(toys, here, build, tmp_path, override, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build(toys, override).run(tmp_path / "out")
    assert here == []
