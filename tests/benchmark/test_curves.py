"""Times and curves out of a training's scalars, also of one that was killed."""

from __future__ import annotations

import json

import pytest

from presence.benchmark.curves import learning_curve, training_seconds


def test_repeated_iterations_count_once(tmp_path):
    lines = [
        {"iteration": 10, "time/iteration": 0.5},
        {"iteration": 10, "val/novel/psnr": 20.0},
        {"iteration": 20, "time/iteration": 0.5},
        {"iteration": 20, "time/iteration": 0.25},  # resumed at 10
        {"iteration": 20, "val/novel/psnr": 21.0},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"iteration": 30, "time/it'
    (tmp_path / "scalars.jsonl").write_text(text)

    assert training_seconds(tmp_path) == pytest.approx(10 * 0.5 + 10 * 0.25)
    assert learning_curve(tmp_path, 4) == [
        {"samples": 40, "novel/psnr": 20.0},
        {"samples": 80, "novel/psnr": 21.0},
    ]
