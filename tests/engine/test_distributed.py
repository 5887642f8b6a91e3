"""Two processes under torchrun: equal weights, and those of one process with the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from presence.engine import train
from presence.engine.checkpoint import read_checkpoint
from presence.testing.toy_training import toy_config

# Every process writes the weights that it ends with.
_WORKER = """
import pathlib, sys, torch
from mmengine.config import Config
from mmengine.hooks import Hook
from presence.engine import train
from presence.registry import HOOKS
from test_distributed import config

class KeepWeights(Hook):
    def after_run(self, runner):
        torch.save(runner.bare_model.state_dict(), f"{sys.argv[1]}/rank{runner.process.rank}.pt")

HOOKS.register_module(name="KeepWeightsForTest", module=KeepWeights, force=True)
train(Config(config(2, custom_hooks=[dict(type="KeepWeightsForTest")])),
      work_dir=sys.argv[1], launcher="pytorch")
threads = [task.read_text().strip() for task in pathlib.Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], threads
"""


def config(batch_size, *, accumulate=2, iterations=8, **more):
    """A run of 4 steps on 32 samples in all, when two processes take 2 at a time, twice a step."""
    schedule = dict(
        iterations=iterations,
        batch_size=batch_size,
        accumulate=accumulate,
        warmup=0,
        shape="constant",
    )
    validation = dict(interval=iterations, at_start=False)
    return toy_config(schedule=schedule, model=dict(noise=0.0), validation=validation, **more)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    paths = [os.path.dirname(__file__), *filter(None, sys.path)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", "--no-python", sys.executable, "-c", _WORKER, str(folder)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_both_processes_end_with_the_same_bits(two):
    first, second = (torch.load(two / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "iterations"),
    [(4, 2, 8), (8, 1, 4)],
    ids=["batch doubled", "batch of a whole step"],
)
def test_one_process_with_the_whole_batch_learns_the_same(
    two, tmp_path, batch_size, accumulate, iterations
):
    whole = config(batch_size, accumulate=accumulate, iterations=iterations)
    train(Config(whole), work_dir=tmp_path)
    alone, shared = (
        read_checkpoint(d / f"iter_{n}.pth") for d, n in ((tmp_path, iterations), (two, 8))
    )
    assert (alone["meta"]["world"], shared["meta"]["world"]) == (1, 2)
    assert alone["meta"]["metrics"].keys() >= {"input/psnr", "novel/psnr"}
    assert shared["meta"]["metrics"] == pytest.approx(alone["meta"]["metrics"], rel=1e-3)
    one = alone["state_dict"]
    start = _first_weights()
    moved = 0.0
    for name, value in torch.load(two / "rank0.pt", weights_only=True).items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=2e-5)
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 0.01  # they went somewhere


def _first_weights():
    from presence.engine.checkpoint import build_model
    from presence.engine.seed import seed_everything

    seed_everything(0)
    return build_model(config(2)["model"]).state_dict()


def test_what_is_logged_is_of_all_processes(two, tmp_path):
    train(Config(config(4)), work_dir=tmp_path)
    logs = [(f / "scalars.jsonl").read_text().splitlines() for f in (two, tmp_path)]
    rows = [[json.loads(line) for line in lines] for lines in logs]
    losses = [[row["train/loss"] for row in part if "train/loss" in row] for part in rows]
    assert len(losses[0]) > 0
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
