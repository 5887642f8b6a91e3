"""tools/train.py, test.py, list_components.py and doctor.py, run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
BASE = TOOLS.parent / "configs" / "_base_"


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


def test_train_then_test_then_resume(tool, config, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    arguments = ("train", config, "--work-dir", work, "schedule.iterations=6")
    code, stdout, _ = tool(*arguments)
    assert code == 0
    assert f"wrote {work / 'weights.safetensors'} (" in stdout
    assert "iter 6/6" in stdout and "it/s" in stdout and "eta" in stdout
    assert "iterations=6" in (work / "toy.py").read_text()

    code, stdout, stderr = tool("train", config, "--work-dir", work)
    assert code == 2 and stdout == ""
    assert stderr.startswith("error: ") and "add --resume" in stderr and stderr.count("\n") == 1

    code, _, stderr = tool("train", config, "--work-dir", work, "--resume")
    assert code == 2 and "schedule.iterations is 6 there, 8 now" in stderr

    code, stdout, _ = tool("test", config, work / "weights.safetensors", "--out", out)
    assert code == 0
    assert stdout.startswith("| method | subjects | input PSNR (dB) | input SSIM | novel PSNR (dB)")
    assert "| toy | 3 |" in stdout and f"wrote 5 files to {out}" in stdout
    assert len(list(out.rglob("*.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "nowhere.py"), "config nowhere.py does not exist"),
        (("train", "CONFIG", "schedule.iteratons=3"), "Did you mean `iterations`?"),
        (("train", "CONFIG", "data.train.siz=3"), "Did you mean `size`?"),
        (("train", "CONFIG", "model.type=ToyAvatarModl"), "Did you mean `ToyAvatarModel`?"),
        (("train", "CONFIG", "device=tpu"), "`device` cannot be 'tpu'"),
        (("train", "CONFIG", "--launcher", "slurm"), "unknown launcher `slurm`"),
        (("test", "CONFIG", "nowhere.safetensors"), "weights nowhere.safetensors do not exist"),
        (("test", "CONFIG", "CONFIG"), "is not a readable checkpoint"),
        (("list_components", "decodr"), "Did you mean `decoder`?"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(
    tool, config, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, stdout, stderr = tool(*(config if a == "CONFIG" else a for a in arguments))
    assert code == 2 and stdout == ""
    assert stderr.startswith("error: ") and said in stderr and stderr.count("\n") == 1
    assert [p for p in sorted(tmp_path.iterdir()) if p.name != "__pycache__"] == before


def test_listing_and_doctor(tool):
    code, stdout, _ = tool("list_components", "decoder")
    assert code == 0 and "DualUVDecoder" in stdout and "options: " in stdout
    code, stdout, _ = tool("doctor", "--no-checksums")
    assert code == 0 and "External files" in stdout and "SMPL-X" in stdout
    assert "plugins of installed packages: " in stdout
