"""Counted work against closed forms, floors, and the tool on a small config."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from presence.config import load_config
from presence.errors import ConfigError
from presence.models.layers import TransformerBlock
from presence.models.vit import VisionTransformer
from presence.profiling import Rates, Stage, profile, table
from presence.profiling.blocks import block_stages
from presence.profiling.counting import count_flops, size_of, transformer_flops
from presence.profiling.timing import Timing, measure

ROOT = Path(__file__).parents[2]


def test_counted_operations_of_transformers_are_the_closed_form():
    tokens = torch.randn(1, 96, 64)
    block = TransformerBlock(64, 4, mlp_ratio=3.0)
    with torch.no_grad():
        assert count_flops(lambda: block(tokens)) == transformer_flops(96, 64, 1, 3.0)
    network = VisionTransformer(64, 2, 4, grid=(6, 4))
    images = torch.randn(1, 3, 96, 64)
    patches = 2 * 24 * 64 * 3 * 16 * 16
    with torch.no_grad():
        counted = count_flops(lambda: network(images))
    assert counted == transformer_flops(25, 64, 2, 4.0) + patches


def test_blocks_are_found_with_their_shapes_and_counted_work():
    network = nn.Sequential(*(TransformerBlock(64, 4, mlp_ratio=2.0) for _ in range(3)))
    tokens = torch.randn(2, 96, 64)
    with torch.no_grad():
        (stage,) = block_stages(
            "part", network, lambda: network(tokens), torch.device("cpu"), repeats=3
        )
    assert stage.name == "3 blocks of 96 x 64, kernels"
    assert stage.flops == 2 * transformer_flops(96, 64, 3, 2.0)
    assert 0 < stage.facts["attention_ms"] < 1e3 * stage.timing.seconds


def test_a_backward_pass_counts_twice_a_forward_pass():
    layer, x = nn.Linear(32, 48), torch.randn(8, 32, requires_grad=True)
    forward = count_flops(lambda: layer(x))
    assert forward == 2 * 8 * 32 * 48
    assert count_flops(lambda: layer(x).sum().backward()) == 3 * forward


def test_floor_is_the_larger_of_arithmetic_and_traffic():
    rates = Rates("toy", "float32", flops=1e12, bytes=1e11)
    timing = Timing(0.004, 0.003, 0.005, 9)
    row = Stage("part", "stage", timing, flops=2e9, bytes=1e8).row(rates)
    assert row["floor_ms"] == pytest.approx(2.0) and row["share_of_peak"] == pytest.approx(0.5)
    row = Stage("part", "stage", timing, flops=2e9, bytes=4e8).row(rates)
    assert row["floor_ms"] == pytest.approx(4.0) and row["over_floor"] == pytest.approx(1.0)
    assert "part: stage" in table([row])


def test_shared_tensors_are_counted_once():
    layer = nn.Linear(4, 4, bias=False)
    assert size_of([nn.Sequential(layer, layer)]) == 64


def test_medians_shrug_off_one_slow_call():
    import time

    waits = iter([0, 0, 0, 0.2, *[0.001] * 20])
    timing = measure(
        lambda: time.sleep(next(waits)), torch.device("cpu"), repeats=10, warmups=3, limit=60
    )
    assert timing.seconds < 0.02 and timing.repeats == 10


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch):
    from presence.profiling import run

    def broken(*args, **kwargs):
        raise RuntimeError("no such luck\nsecond line")
        yield

    monkeypatch.setattr(run, "reconstruct_stages", broken)
    lines = []
    result = profile(
        load_config(ROOT / "configs/dualuv_tiny.py", ["model.map_size=64"]),
        device="cpu",
        iterations=1,
        parts=["reconstruct", "animate"],
        out=tmp_path / "profile.json",
        say=lines.append,
    )
    assert result["rows"][0]["problem"] == "RuntimeError: no such luck"
    assert {row["part"] for row in result["rows"][1:]} == {"animate B=1"}
    assert any("no such luck" in text for text in lines)
    assert json.loads((tmp_path / "profile.json").read_text())["rows"] == result["rows"]


def test_unknown_parts_are_named():
    with pytest.raises(ConfigError, match="Did you mean `animate`"):
        profile({}, parts=["animat"])
    with pytest.raises(ConfigError, match="compile mode"):
        profile({}, compile="fast")


def test_the_tool_measures_every_part(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "tools/profile.py", "configs/dualuv_tiny.py", "--device", "cpu"),
            *("--iterations", "1", "--size", "64", "--out", str(tmp_path / "p.json")),
            *("model.map_size=64", "model.projector.core_size=8", "model.decoder.core_size=8"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "p.json").read_text())["rows"]
    assert not [row for row in rows if "problem" in row]
    assert {row["part"] for row in rows} == {"reconstruct", "animate B=1", "train"}
    assert all(row["ms"] > 0 for row in rows)
    encode = next(row for row in rows if row["stage"] == "encode")
    assert encode["gflop"] > 0 and encode["over_floor"] > 0.5
