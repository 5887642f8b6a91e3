"""`configs/dualuv_tiny.py` itself: a few iterations learn, and a resumed run has the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from presence.config import load_config
from presence.engine import train
from presence.engine.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SMALLER = [
    *("schedule.iterations=16", "schedule.warmup=2", "logging.interval=16", "logging.pictures=0"),
    *("checkpoints.interval=8", "validation.interval=16", "validation.subjects=4"),
    *("model.map_size=64", "data.train.size=48", "data.val.size=48", "ema.decay=0.5"),
]


@pytest.mark.slow
def test_the_tiny_config_learns_and_resumes_bit_exactly(tmp_path):
    config = ROOT / "configs/dualuv_tiny.py"
    whole, part = tmp_path / "whole", tmp_path / "part"
    train(load_config(config, SMALLER), work_dir=whole)
    lines = (whole / "scalars.jsonl").read_text().splitlines()
    psnr = [row["val/input/psnr"] for row in map(json.loads, lines) if "val/input/psnr" in row]
    assert len(psnr) == 2 and psnr[1] > psnr[0]

    part.mkdir()
    (part / "iter_8.pth").write_bytes((whole / "iter_8.pth").read_bytes())
    train(load_config(config, SMALLER), work_dir=part, resume=True)
    first, second = (read_checkpoint(folder / "iter_16.pth") for folder in (whole, part))
    for key in ("state_dict", "ema"):
        assert first[key].keys() == second[key].keys()
        assert all(torch.equal(first[key][name], second[key][name]) for name in first[key])
