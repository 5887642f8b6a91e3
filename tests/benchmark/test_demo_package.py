"""A decoder from a package of its own, installed by pip, joins a sweep with one config line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWEEP = """
_base_ = ["{tiny}"]
benchmark = dict(
    rows=dict(_delete_=True, Palette=dict(config="{dualuv}", overrides=["model.decoder={{type: PaletteDecoder}}", "model.feedback=null"])),
    budget=dict(samples=4),
    repeat_best=None,
    curve=dict(points=0),
    overrides=["model.map_size=64", "device=cpu"],
    pictures=dict(size=48),
    protocol=dict(
        sets=dict(_delete_=True, half=dict(type="ProceduralPeopleDataset", split="test", num_subjects=1, size=48, supersample=1)),
        metrics=[dict(type="PSNR")],
        sensitivity=None,
    ),
)
"""  # noqa: E501


@pytest.fixture
def installed(tmp_path):
    """Installs the example as pip would, into a folder; returns an environment that has it."""
    source = tmp_path / "source"  # setuptools writes beside what it builds
    shutil.copytree(ROOT / "examples" / "presence-decoder-demo", source)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
               "--no-build-isolation", "--disable-pip-version-check",
               "--target", str(target), str(source)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


@pytest.mark.slow
def test_the_demo_joins_a_sweep(installed, tmp_path):
    config = tmp_path / "with_palette.py"
    text = SWEEP.format(
        tiny=ROOT / "configs/benchmarks/tiny.py", dualuv=ROOT / "configs/dualuv_tiny.py"
    )
    config.write_text(text)
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "tools/benchmark.py"), str(config), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=installed, check=False)

    log = out / "rows/Palette-seed0/log.txt"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text()[-2000:] if log.is_file() else "")  # fmt: skip  # noqa: E501
    result = json.loads((out / "rows/Palette-seed0/result.json").read_text())
    assert result["training"]["samples"] == 4
    assert result["sets"]["half"]["means"]["novel/psnr"] > 3
    assert "| Palette |" in done.stdout and str(out / "report.html") in done.stdout
