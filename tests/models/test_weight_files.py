"""Weight files: what torch reads, we read; what is damaged or foreign is one clear line."""

from __future__ import annotations

import zipfile

import pytest
import torch
from torch import nn

from presence.errors import AssetError
from presence.models.weight_files import find_weights, fold_numbers, read_tensors


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.heads = nn.ModuleList([nn.Linear(4, 2, bias=False), nn.Linear(4, 2)])
        self.names = ["a", "b"]

    def forward(self, x):
        x = self.backbone(x)
        return self.heads[0](x) + self.heads[1](x)


def _archive(net, path, traced):
    net.eval()
    program = torch.jit.trace(net, torch.zeros(1, 3)) if traced else torch.jit.script(net)
    torch.jit.save(program, path)


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_torchscript_weights_equal_those_that_torch_loads(tmp_path, traced, dtype):
    torch.manual_seed(0)
    net = Net()
    net.backbone[0].weight.data = torch.randn(3, 4).T  # strided: not stored row by row
    path = tmp_path / "net_torchscript.pt2"
    if traced:
        _archive(net, path, True)
    else:
        _archive(net.to(dtype), path, False)
    expected = torch.jit.load(path).state_dict()
    got = read_tensors(path)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype and torch.equal(got[name], value)


def test_reading_torchscript_does_not_change_the_file(tmp_path):
    path = tmp_path / "net.pt2"
    _archive(Net(), path, False)
    before = path.read_bytes()
    for value in read_tensors(path).values():
        if value.is_floating_point():
            value.add_(1)
    assert path.read_bytes() == before


def test_a_frozen_archive_has_no_names(tmp_path):
    path = tmp_path / "net.pt2"
    torch.jit.save(torch.jit.freeze(torch.jit.script(Net().eval())), path)
    with pytest.raises(AssetError, match="holds no named tensors: it was frozen"):
        read_tensors(path)


class _Harmful:
    def __reduce__(self):
        return print, ("code ran",)


def _rewritten(path, content):
    """A copy of an archive with another data.pkl."""
    import pickle

    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("/data.pkl"):
                data = pickle.dumps(content, 2)
            new.writestr(entry.filename, data)
    return out


def test_code_in_an_archive_is_refused(tmp_path, capsys):
    path = tmp_path / "net.pt2"
    _archive(Net(), path, False)
    with pytest.raises(AssetError, match=r"refers to (builtins|__builtin__).print"):
        read_tensors(_rewritten(path, _Harmful()))
    assert "code ran" not in capsys.readouterr().out


def test_code_in_a_pth_is_refused(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": _Harmful()}, tmp_path / "a.pth")
    with pytest.raises(AssetError, match=r"needs code to load \(it names \S+\)$"):
        read_tensors(tmp_path / "a.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.pt2"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_files_are_one_line(tmp_path, name, damage):
    from safetensors.torch import save_file

    path = tmp_path / name
    if name.endswith("pth"):
        torch.save({"a": torch.ones(100)}, path)
    elif name.endswith("safetensors"):
        save_file({"a": torch.ones(100)}, path)
    else:
        _archive(Net(), path, False)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"not weights"}[damage])
    with pytest.raises(AssetError) as error:
        read_tensors(path)
    assert name in str(error.value)


def test_an_exported_program_is_refused_with_advice(tmp_path):
    path = tmp_path / "net_bfloat16.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/models/model.json", "{}")
    with pytest.raises(AssetError, match="compiled program .* use the .pth, .safetensors"):
        read_tensors(path)


def test_files_without_tensors_are_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(AssetError, match="holds no tensors by name"):
        read_tensors(tmp_path / "list.pth")
    with pytest.raises(AssetError, match="does not exist|do not exist"):
        read_tensors(tmp_path / "missing.pth")


def test_weights_are_found_by_path_by_name_and_as_the_official_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    own = tmp_path / "own.pth"
    own.write_bytes(b"x")
    assert find_weights(str(own), "sapiens_1b") == own
    with pytest.raises(AssetError, match="Sapiens-1B, pretrained encoder is missing"):
        find_weights("official", "sapiens_1b")
    with pytest.raises(AssetError, match="Sapiens-2B, pretrained encoder is missing"):
        find_weights("sapiens_2b", "sapiens_1b")
    with pytest.raises(AssetError, match="weights .*nowhere.pth do not exist"):
        find_weights(str(tmp_path / "nowhere.pth"), "sapiens_1b")
    file = tmp_path / "weights" / "sapiens" / "sapiens_1b_epoch_173_torchscript.pt2"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert find_weights("official", "sapiens_1b") == file


def test_names_are_folded_without_losing_any():
    names = [f"layers.{i}.ln1.weight" for i in (0, 1, 2, 5)] + ["norm", "layers.3.ln2.bias"]
    assert fold_numbers(names) == ["layers.{0-2,5}.ln1.weight", "norm", "layers.3.ln2.bias"]


def test_tensors_of_a_pth_are_mapped_not_copied(tmp_path):
    torch.save({"a": torch.zeros(50_000_000)}, tmp_path / "big.pth")  # 200 MB
    before = _resident()
    tensors = read_tensors(tmp_path / "big.pth")
    assert _resident() - before < 50e6
    assert tensors["a"].shape == (50_000_000,)


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_named_entry_is_opened_and_several_entries_are_joined(tmp_path):
    path, one = tmp_path / "net.tar", torch.ones(1)
    torch.save({"epoch": 3, "network": {"a.b": one}, "optimizer": {"state": {}}}, path)
    assert read_tensors(path, entry="network") == {"a.b": one}
    torch.save({"Encoder": {"w": one}, "Regressor": {"w": one, "n": 3}, "epoch": 3}, path)
    assert read_tensors(path) == {"Encoder.w": one, "Regressor.w": one}
