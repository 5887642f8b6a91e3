"""Training checkpoints of other projects: their tensors are read, their classes never made."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import enum
import os

import pytest
import torch

from presence.errors import AssetError
from presence.models.training_files import read_nested, read_state_dict
from presence.models.weight_files import read_tensors

MADE = []


class Config(dict):
    """A config as projects write them: a dictionary with attributes."""

    def __init__(self, *args):
        super().__init__(*args)
        MADE.append("Config")


class Stage(enum.Enum):
    FIT = "fit"


@dataclasses.dataclass
class Options:
    rate: float = 1.0

    def __setstate__(self, state):
        MADE.append("Options")


def call(*args):
    MADE.append("called")


class Calling:
    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return (self.function, ("touch evil_was_here",))


@pytest.fixture
def checkpoint():
    nested = Config({"width": Config({"a": 1})})
    nested.note = "kept beside the keys"
    return {
        "state_dict": collections.OrderedDict(w=torch.arange(3.0), b=torch.ones(())),
        "hyper_parameters": nested,
        "callbacks": {"stage": Stage.FIT, "options": Options(2.0)},
        "args": argparse.Namespace(gpus=[0, 1]),
        "epoch": 4,
    }


def test_tensors_are_read_beside_objects_of_unknown_classes(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "model.ckpt")
    with pytest.raises(AssetError, match="needs code"):  # the plain reader refuses the file
        read_tensors(tmp_path / "model.ckpt")
    MADE.clear()
    found = read_state_dict(tmp_path / "model.ckpt")
    assert found.keys() == {"w", "b"} and torch.equal(found["w"], torch.arange(3.0))
    assert not MADE


def test_no_function_of_a_file_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MADE.clear()
    torch.save({"model": {"w": torch.ones(2)}, "meta": Calling(call)}, "model.pt")
    assert read_nested("model.pt")["model"]["w"].tolist() == [1, 1]
    assert not MADE
    torch.save({"model": {"w": torch.ones(2)}, "meta": Calling(os.system)}, "evil.pt")
    with pytest.raises(AssetError, match="evil.pt"):  # torch refuses such modules altogether
        read_nested("evil.pt")
    assert not os.path.exists("evil_was_here")


def test_several_networks_keep_their_entries(tmp_path):
    torch.save({"a": {"w": torch.ones(1)}, "b": {"w": torch.zeros(1)}, "n": 3}, tmp_path / "x.pt")
    found = read_nested(tmp_path / "x.pt")
    assert {k: v["w"].item() for k, v in found.items()} == {"a": 1, "b": 0}


def test_plain_weight_files_are_read_too(tmp_path):
    from safetensors.torch import save_file

    torch.save({"w": torch.ones(2)}, tmp_path / "plain.pth")
    save_file({"w": torch.ones(2)}, tmp_path / "plain.safetensors")
    for name in ("plain.pth", "plain.safetensors"):
        assert read_state_dict(tmp_path / name).keys() == {"w"}


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_and_missing_files_are_named(tmp_path, content):
    (tmp_path / "broken.ckpt").write_bytes(content)
    with pytest.raises(AssetError, match="broken.ckpt"):
        read_state_dict(tmp_path / "broken.ckpt")
    with pytest.raises(AssetError, match="do not exist"):
        read_state_dict(tmp_path / "missing.ckpt")
