"""A sweep of the engine's toy model: whole runs in a second."""

from __future__ import annotations

import json

import pytest

from presence.benchmark import launch, sweep
from presence.benchmark.worker import run_job
from presence.config import load_config
from presence.registry import BENCHMARKS

TOY = """
plugins = ["toys_plugin.py"]
model = dict(type="ToyAvatarModel")
data = dict(train=dict(type="ToyPeople"), val=dict(type="ToyPeople", first_seed=1000))
schedule = dict(iterations=100, batch_size=2, warmup=10)
optimizer = dict(lr=1e-2)
logging = dict(interval=1, pictures=0)
checkpoints = dict(interval=10, keep=0)
validation = dict(metrics=[dict(type="PSNR"), dict(type="SSIM")])
precision = "fp32"
device = "cpu"
"""
SWEEP = """
benchmark = dict(
    type="MethodSweep",
    rows=dict(
        narrow=dict(config="toy.py"),
        wide=dict(config="toy.py", overrides=["model.width=12"]),
    ),
    budget=dict(samples=12),
    curve=dict(points=3, subjects=2),
    protocol=dict(
        sets=dict(
            half=dict(type="ToyPeople", num_subjects=3, first_seed=50, size=32),
            full=dict(type="ToyPeople", num_subjects=2, first_seed=90, size=32),
        ),
        shown=2,
        tile=16,
    ),
)
"""


@pytest.fixture
def toys(tmp_path):
    """Writes a toy method and a sweep over two of it; returns the sweep's config file."""
    (tmp_path / "toys_plugin.py").write_text("import presence.testing.toy_training\n")
    (tmp_path / "toy.py").write_text(TOY)
    path = tmp_path / "sweep.py"
    path.write_text(SWEEP)
    return path


@pytest.fixture
def here(monkeypatch):
    """Runs jobs in this process, one after the other; returns the folders that were run."""
    ran = []

    def in_turn(folders, **unused):
        for folder in folders:
            ran.append(folder.name)
            (folder / launch.RESULT).unlink(missing_ok=True)
            yield folder, launch.failure(folder, run_job(folder))

    monkeypatch.setattr(sweep, "launch", in_turn)
    return ran


@pytest.fixture
def build():
    """Builds a sweep from its config file, with overrides."""

    def from_config(path, *overrides):
        config = load_config(path, overrides)
        return BENCHMARKS.build(config["benchmark"], config=config, folder=path.parent)

    return from_config


@pytest.fixture
def results():
    """Reads every result of a sweep's folder."""

    def read(out):
        files = sorted((out / "rows").glob("*/result.json"))
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    return read
