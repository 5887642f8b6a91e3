"""A decoder from a package of its own, installed by pip, joins a sweep with one config line."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from presence.models import AvatarModel
from presence.registry import DECODERS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "presence-decoder-demo"
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
    shutil.copytree(EXAMPLE, source)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
               "--no-build-isolation", "--disable-pip-version-check",
               "--target", str(target), str(source)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def palette(monkeypatch):
    """The example's decoder, registered for one test, whether it is installed or not."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    installed = "PaletteDecoder" in DECODERS.module_dict
    decoder = importlib.import_module("presence_decoder_demo.palette").PaletteDecoder
    DECODERS.module_dict.setdefault("PaletteDecoder", decoder)
    yield decoder
    if not installed:
        del DECODERS.module_dict["PaletteDecoder"]


def test_the_demos_own_sweep_is_the_one_that_the_docs_publish(build, palette):
    sweep = build(EXAMPLE / "benchmark.py")
    assert list(sweep.rows) == ["Dual-UV", "Palette", "copy"] and not sweep.repeat
    jobs = {n: job for n, row in sweep.rows.items() for job in sweep._plan(n, row, [0])}
    assert [job.budget["samples"] for job in jobs.values()] == [300] * 3
    assert [job.train for job in jobs.values()] == [True, True, False]
    one, other = jobs["Dual-UV"].config["model"], jobs["Palette"].config["model"]
    assert {k for k in one if one[k] != other[k]} == {"decoder"}
    model = AvatarModel.from_config(other)
    assert isinstance(model.decoder, palette)
    docs = (ROOT / "docs" / "benchmarks.md").read_text()
    assert "tools/benchmark.py examples/presence-decoder-demo/benchmark.py" in docs


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
