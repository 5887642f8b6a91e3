"""Whole training runs of a toy model: resume, refusals, the guard, several processes."""

from __future__ import annotations

import json
import logging
import os
import signal

import pytest
import torch
from mmengine.config import Config

from presence.engine import train
from presence.engine.checkpoint import read_checkpoint
from presence.engine.hooks import TrainingDiverged
from presence.errors import ConfigError
from presence.testing.toy_training import toy_config


def _equal_states(first, second) -> bool:
    a, b = read_checkpoint(first), read_checkpoint(second)
    same = a["ema_updates"] == b["ema_updates"]
    for key in ("state_dict", "ema"):
        assert a[key].keys() == b[key].keys()
        same = same and all(torch.equal(a[key][name], b[key][name]) for name in a[key])
    for old, new in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values()):
        same = same and all(torch.equal(old[name], new[name]) for name in old)
    return same


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 20 iterations that was never interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    weights = train(Config(toy_config(logging=dict(interval=5, pictures=10))), work_dir=folder)
    return folder, weights


def test_a_run_writes_its_files(finished):
    folder, weights = finished
    assert weights == folder / "weights.safetensors" and weights.is_file()
    assert (folder / "iter_10.pth").is_file() and (folder / "iter_20.pth").is_file()
    curve = [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]
    trained = [row["iteration"] for row in curve if "train/loss" in row]
    measured = {row["iteration"]: row for row in curve if "val/input/psnr" in row}
    assert trained == [5, 10, 15, 20]
    assert sorted(measured) == [0, 10, 20]
    first, last = [next(r for r in curve if r["iteration"] == i) for i in (5, 20)]
    assert last["train/loss"] < first["train/loss"]
    record = json.loads((folder / "provenance.json").read_text())
    assert record["seed"] == 0 and record["torch"] == torch.__version__.split("+")[0]


def test_tensorboard_has_scalars_and_pictures(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = finished
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert {"train/loss", "train/lr", "val/novel/psnr"} <= set(events.Tags()["scalars"])
    pictures = events.Images("subjects")
    assert [p.step for p in pictures] == [0, 10, 20]
    assert (pictures[0].height, pictures[0].width) == (4 * 16, 5 * 16)


@pytest.mark.parametrize("batches", [True, False], ids=["made by step", "map-style"])
def test_resume_is_bit_exact(tmp_path, batches, finished):
    data = dict(train=dict(type="ToyPeople", batches=batches), val=dict(type="ToyPeople"))
    config = toy_config(data=data, validation=dict(interval=0))
    if batches:  # validation and pictures in between must not matter
        whole = finished[0]
    else:
        whole = tmp_path / "whole"
        train(Config(config), work_dir=whole)
    part = tmp_path / "part"
    part.mkdir()
    (part / "iter_10.pth").write_bytes((whole / "iter_10.pth").read_bytes())
    train(Config(config), work_dir=part, resume=True)
    assert _equal_states(whole / "iter_20.pth", part / "iter_20.pth")


def test_other_seeds_give_other_weights(tmp_path, finished):
    train(Config(toy_config(seed=1, validation=dict(interval=0))), work_dir=tmp_path)
    assert not _equal_states(finished[0] / "iter_20.pth", tmp_path / "iter_20.pth")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(schedule=dict(iterations=40)), "schedule.iterations is 20 there, 40 now"),
        (dict(optimizer=dict(lr=5e-3)), "optimizer.lr is 0.01 there, 0.005 now"),
        (dict(model=dict(width=12)), "checkpoint of another config: `network.0.weight` is [8, 3"),
        (dict(seed=3), "seed is 0 there, 3 now"),
    ],
)
def test_a_resume_that_does_not_fit_is_refused(tmp_path, finished, changes, said):
    with pytest.raises(ConfigError) as error:
        train(
            Config(toy_config(**changes)),
            work_dir=tmp_path,
            resume=finished[0] / "iter_10.pth",
        )
    assert said in str(error.value)


def test_an_older_run_is_not_overwritten(finished):
    with pytest.raises(ConfigError, match="already holds iter_20.pth: add --resume"):
        train(Config(toy_config()), work_dir=finished[0])


def test_nan_stops_the_run_and_is_not_saved(tmp_path):
    config = toy_config(model=dict(explode_at=7), validation=dict(interval=0))
    with pytest.raises(TrainingDiverged, match="loss.* is not finite at iteration 7"):
        train(Config(config), work_dir=tmp_path)
    assert not list(tmp_path.glob("iter_*.pth"))


def test_old_checkpoints_are_forgotten(tmp_path):
    config = toy_config(checkpoints=dict(interval=4, keep=2), validation=dict(interval=0))
    train(Config(config), work_dir=tmp_path)
    assert sorted(p.name for p in tmp_path.glob("iter_*.pth")) == ["iter_16.pth", "iter_20.pth"]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / ".iter_10-abc.pth").write_bytes(b"half")
    config = toy_config(schedule=dict(iterations=2), validation=dict(interval=0))
    train(Config(config), work_dir=tmp_path)
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("prefetch", [False, True])
def test_a_run_on_cuda(tmp_path, prefetch):
    """bf16, fused AdamW, batches from this process and from another; resume and export."""
    config = toy_config(device="cuda", precision="bf16", prefetch=prefetch)
    config["logging"] = dict(interval=5, pictures=10)
    weights = train(Config(config), work_dir=tmp_path)
    assert weights is not None
    curve = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    rows = [row for row in curve if "train/loss" in row]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert rows[-1]["memory/peak_gb"] > 0
    whole = read_checkpoint(tmp_path / "iter_20.pth")
    (tmp_path / "iter_20.pth").unlink()
    train(Config(config), work_dir=tmp_path, resume=True)
    again = read_checkpoint(tmp_path / "iter_20.pth")
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(again["state_dict"][name], value, rtol=1e-3, atol=1e-4)


def test_bf16_trains_on_the_cpu(tmp_path):
    config = toy_config(precision="bf16", validation=dict(interval=10, at_start=False))
    train(Config(config), work_dir=tmp_path)
    state = read_checkpoint(tmp_path / "iter_20.pth")
    assert all(value.dtype == torch.float32 for value in state["state_dict"].values())
    assert state["meta"]["metrics"]["input/psnr"] > 0


def test_sigterm_saves_and_can_be_resumed(tmp_path, finished, caplog):
    from mmengine.hooks import Hook

    from presence.engine import trainer
    from presence.registry import HOOKS

    class Kill(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if batch_idx == 12:
                os.kill(os.getpid(), signal.SIGTERM)

    HOOKS.register_module(name="KillForTest", module=Kill, force=True)
    before = signal.getsignal(signal.SIGTERM)
    config = Config(toy_config(custom_hooks=[dict(type="KillForTest")]))
    with caplog.at_level(logging.WARNING, logger=trainer.__name__):
        assert train(config, work_dir=tmp_path) is None
    assert signal.getsignal(signal.SIGTERM) is before
    assert "stopped at iteration" in caplog.text
    (stopped,) = [p for p in tmp_path.glob("iter_*.pth") if p.name != "iter_10.pth"]
    assert stopped.name in ("iter_13.pth", "iter_14.pth")
    train(Config(toy_config()), work_dir=tmp_path, resume=True)
    assert _equal_states(finished[0] / "iter_20.pth", tmp_path / "iter_20.pth")
