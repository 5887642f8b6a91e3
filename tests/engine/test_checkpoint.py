"""Checkpoints and released weights: round trips, refusals, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from safetensors import safe_open

from presence.engine import train
from presence.engine.checkpoint import (
    checkpoint_path,
    export_weights,
    list_checkpoints,
    load_model,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from presence.errors import AssetError, ConfigError, InputError
from presence.testing.toy_training import ToyAvatarModel, toy_config, toy_sample


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Config and last checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("trained")
    config = Config(toy_config(schedule=dict(iterations=6), validation=dict(at_start=False)))
    train(config, work_dir=folder)
    return config, folder / "iter_6.pth"


def test_a_checkpoint_is_read_without_pickle(trained):
    state = torch.load(trained[1], weights_only=True)
    assert state["meta"]["iteration"] == 6
    assert state["meta"]["config"]["model"]["type"] == "ToyAvatarModel"
    assert set(state["ema"]) == set(state["state_dict"])


def test_objects_are_refused_when_saving(tmp_path):
    with pytest.raises(TypeError, match=r"meta\.when is a Process"):
        from presence.engine.distributed import Process

        save_checkpoint(tmp_path / "a.pth", dict(meta=dict(when=Process(torch.device("cpu")))))
    assert list(tmp_path.iterdir()) == []


def test_exported_weights_are_the_average_as_half(trained, tmp_path):
    config, checkpoint = trained
    path = export_weights(checkpoint, tmp_path / "w.safetensors")
    state = read_checkpoint(checkpoint)
    model = load_model(path)  # from the config inside the file
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state["ema"][name].half().float())
        assert not torch.equal(value, state["state_dict"][name].half().float())
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["iteration"]) == 6 and json.loads(header["seed"]) == 0
    assert json.loads(header["averaged"]) is True
    assert json.loads(header["metrics"])["novel/psnr"] == state["meta"]["metrics"]["novel/psnr"]
    assert "commit" in json.loads(header["provenance"])
    assert path.stat().st_size < 2 * sum(v.numel() for v in state["ema"].values()) + 8192


def test_a_checkpoint_and_its_export_predict_alike(trained, tmp_path):
    config, checkpoint = trained
    path = export_weights(checkpoint, tmp_path / "w.safetensors", dtype=torch.float32)
    sample = toy_sample(5).unsqueeze()
    first = load_model(path, config).predict(sample)["target"].rgb
    second = load_model(checkpoint, config).predict(sample)["target"].rgb
    assert torch.equal(first, second)
    raw = export_weights(checkpoint, tmp_path / "r.safetensors", torch.float32, use_ema=False)
    assert not torch.equal(load_model(raw).predict(sample)["target"].rgb, first)


def test_weights_too_large_for_half_are_refused(tmp_path):
    state = dict(meta={}, state_dict={"a": torch.tensor([1e6])}, ema={})
    save_checkpoint(tmp_path / "iter_1.pth", state)
    with pytest.raises(InputError, match="`a` is not finite as torch.float16"):
        export_weights(tmp_path / "iter_1.pth", tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


def test_a_checkpoint_of_another_config_is_named(trained):
    config, checkpoint = trained
    other = Config(toy_config(model=dict(width=5)))
    with pytest.raises(ConfigError) as error:
        load_model(checkpoint, other)
    text = str(error.value)
    assert text.startswith(f"{checkpoint} is a checkpoint of another config: `network.0.weight` is")
    assert "[8, 3, 3, 3] in the file, [5, 3, 3, 3] in the model" in text


def test_missing_and_surplus_keys_are_named_and_nothing_is_loaded():
    model = ToyAvatarModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrong = {name: torch.zeros_like(value) for name, value in before.items()}
    del wrong["network.0.bias"]
    wrong["decoder.token"] = torch.zeros(2)
    with pytest.raises(
        ConfigError, match="`network.0.bias` is not in the file; `decoder.token` is"
    ):
        load_weights(model, wrong)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "text", "cut"])
def test_damaged_files_are_one_line(trained, tmp_path, content):
    path = tmp_path / "iter_1.pth"
    path.write_bytes(trained[1].read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match="is not a readable checkpoint"):
        read_checkpoint(path)
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(content or b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises((InputError, ConfigError)):
        load_model(weights)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(tmp_path / "iter_1.pth")
    with pytest.raises(AssetError, match="do not exist"):
        load_model(tmp_path / "w.safetensors")


def test_foreign_checkpoints_are_refused(tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no checkpoint of this project"):
        read_checkpoint(tmp_path / "a.pth")


def test_checkpoints_are_listed_by_number(tmp_path):
    for iteration in (100, 20, 3):
        checkpoint_path(tmp_path, iteration).touch()
    (tmp_path / "iter_best.pth").touch()
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "iter_3.pth",
        "iter_20.pth",
        "iter_100.pth",
    ]


_FULL_DISK = """
import resource, signal, sys, torch
from presence.cli import run_tool
from presence.engine.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
state = dict(meta={}, state_dict={"a": torch.zeros(1_000_000)})
run_tool(lambda: save_checkpoint(sys.argv[1], state))
"""


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "iter_1.pth"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(path)],
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["iter_1.pth"]
