"""tools/train.py, test.py, list_components.py and doctor.py, run in this process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
BASE = TOOLS.parent / "configs" / "_base_"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a tool with arguments; returns (exit code, stdout, stderr)."""

    def call(tool, *arguments):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOLS / tool), run_name="__main__")
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def config(tmp_path):
    """A config of the toys as a user would write it."""
    (tmp_path / "toys.py").write_text("import presence.testing.toy_training\n")
    path = tmp_path / "toy.py"
    path.write_text(
        f"_base_ = ['{BASE}/runtime.py', '{BASE}/schedule.py']\n"
        "plugins = ['toys.py']\n"
        "model = dict(type='ToyAvatarModel')\n"
        "data = dict(train=dict(type='ToyPeople'), val=dict(type='ToyPeople', first_seed=100),\n"
        "            test=dict(type='ToyPeople', first_seed=200, num_subjects=3))\n"
        "schedule = dict(iterations=8, batch_size=2, warmup=2)\n"
        "logging = dict(interval=4, pictures=0)\n"
        "validation = dict(metrics=[dict(type='PSNR'), dict(type='SSIM')])\n"
        "precision = 'fp32'\n"
        "device = 'cpu'\n"
    )
    return path


def test_train_then_test_then_resume(run, config, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    arguments = ("train.py", config, "--work-dir", work, "schedule.iterations=6")
    code, stdout, _ = run(*arguments)
    assert code == 0
    assert f"wrote {work / 'weights.safetensors'} (" in stdout
    assert "iter 6/6" in stdout and "it/s" in stdout and "eta" in stdout
    assert "iterations=6" in (work / "toy.py").read_text()

    code, stdout, stderr = run("train.py", config, "--work-dir", work)
    assert code == 2 and stdout == ""
    assert stderr.startswith("error: ") and "add --resume" in stderr and stderr.count("\n") == 1

    code, _, stderr = run("train.py", config, "--work-dir", work, "--resume")
    assert code == 2 and "schedule.iterations is 6 there, 8 now" in stderr

    code, stdout, _ = run("test.py", config, work / "weights.safetensors", "--out", out)
    assert code == 0
    assert stdout.startswith("| method | subjects | input PSNR (dB) | input SSIM | novel PSNR (dB)")
    assert "| toy | 3 |" in stdout and f"wrote 5 files to {out}" in stdout
    assert len(list(out.rglob("*.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train.py", "nowhere.py"), "config nowhere.py does not exist"),
        (("train.py", "CONFIG", "schedule.iteratons=3"), "Did you mean `iterations`?"),
        (("train.py", "CONFIG", "data.train.siz=3"), "Did you mean `size`?"),
        (("train.py", "CONFIG", "model.type=ToyAvatarModl"), "Did you mean `ToyAvatarModel`?"),
        (("train.py", "CONFIG", "device=tpu"), "`device` cannot be 'tpu'"),
        (("train.py", "CONFIG", "--launcher", "slurm"), "unknown launcher `slurm`"),
        (("test.py", "CONFIG", "nowhere.safetensors"), "weights nowhere.safetensors do not exist"),
        (("test.py", "CONFIG", "CONFIG"), "is not a readable checkpoint"),
        (("list_components.py", "decodr"), "Did you mean `decoder`?"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(
    run, config, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, stdout, stderr = run(*(config if a == "CONFIG" else a for a in arguments))
    assert code == 2 and stdout == ""
    assert stderr.startswith("error: ") and said in stderr and stderr.count("\n") == 1
    assert [p for p in sorted(tmp_path.iterdir()) if p.name != "__pycache__"] == before


def test_listing_and_doctor(run):
    code, stdout, _ = run("list_components.py", "decoder")
    assert code == 0 and "DualUVDecoder" in stdout and "options: " in stdout
    code, stdout, _ = run("doctor.py", "--no-checksums")
    assert code == 0 and "External files" in stdout and "SMPL-X" in stdout
    assert "plugins of installed packages: " in stdout
