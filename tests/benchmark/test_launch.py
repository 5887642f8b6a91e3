"""Runs go side by side over the GPUs, end with their parent, and say why they have no result."""

from __future__ import annotations

import json
import os
import sys
import threading
import types

import pytest

from presence.benchmark import launch
from presence.benchmark.worker import end_with
from presence.errors import ConfigError, InputError

# Stands in for the worker: notes its GPU and its time, and writes a result.
WORKER = """
import json, os, sys, time
folder = sys.argv[1]
start = time.monotonic()
time.sleep(0.3)
note = dict(gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), start=start, end=time.monotonic())
json.dump(dict(status="done", **note), open(folder + "/result.json", "w"))
"""


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / f"run{number}" for number in range(4)]
    for folder in made:
        folder.mkdir()
    return made


def _stand_in(monkeypatch, text):
    monkeypatch.setattr(
        launch, "worker_command", lambda folder: [sys.executable, "-S", "-c", text, str(folder)]
    )


def _most_at_once(notes):
    return max(sum(a["start"] <= b["start"] < a["end"] for a in notes) for b in notes)


@pytest.mark.parametrize("gpus", [["0", "3"], []])
def test_one_run_a_gpu_at_a_time(monkeypatch, folders, gpus):
    _stand_in(monkeypatch, WORKER)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    ended = dict(launch.launch(folders, gpus=gpus))

    assert ended == dict.fromkeys(folders)
    notes = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert {note["gpu"] for note in notes} == (set(gpus) or {None})
    assert _most_at_once(notes) == max(1, len(gpus))


@pytest.mark.parametrize(
    "text, reason",
    [
        ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
        ("raise SystemExit(7)", "exit code 7"),
        ("raise SystemExit(3)", "stopped before its end"),
    ],
)
def test_a_run_without_a_result_has_a_reason(monkeypatch, folders, text, reason):
    _stand_in(monkeypatch, text)
    ended = dict(launch.launch(folders[:1], gpus=[]))
    assert reason in ended[folders[0]]


def test_workers_are_asked_to_stop_when_the_sweep_ends(monkeypatch, folders):
    _stand_in(
        monkeypatch,
        "import signal, sys, time\n"
        "def note(*_):\n"
        "    open(sys.argv[1] + '/asked', 'w').close(); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "open(sys.argv[1] + '/ready', 'w').close()\n"
        "time.sleep(30 if sys.argv[1].endswith('1') else 0.2)\n",
    )
    runs = launch.launch(folders[:2], gpus=["0", "1"])
    assert next(runs)[0] == folders[0]
    while not (folders[1] / "ready").exists():
        pass
    runs.close()
    assert (folders[1] / "asked").exists()


def test_a_folder_belongs_to_one_sweep_at_a_time(tmp_path):
    with launch.only_one(tmp_path / "out"):
        with pytest.raises(InputError, match="another sweep"), launch.only_one(tmp_path / "out"):
            pass
    with launch.only_one(tmp_path / "out"):
        pass


def test_the_end_of_the_parent_is_noticed():
    reading, writing = os.pipe()
    stopped = threading.Event()
    end_with(reading, stopped.set)
    assert not stopped.wait(0.05)
    os.close(writing)
    assert stopped.wait(5)
    os.close(reading)


def _ray_stand_in(seen):
    """Ray's calls that are used, options into `seen`: tasks start when they are waited for."""

    def remote(**options):
        seen.update(options)
        return lambda function: types.SimpleNamespace(remote=lambda *a: (function, a))

    return types.SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **options: seen.update(options),
        shutdown=lambda: seen.update(shut=True),
        cluster_resources=lambda: {"GPU": 2.0},
        remote=remote,
        wait=lambda pending, num_returns: (pending[:1], pending[1:]),
        get=lambda task: task[0](*task[1]),
    )


def test_ray_runs_every_folder_as_a_task(monkeypatch, folders):
    _stand_in(monkeypatch, WORKER)
    seen = {}
    monkeypatch.setitem(sys.modules, "ray", _ray_stand_in(seen))

    ended = dict(launch.launch(folders[:2], address="auto"))

    assert ended == dict.fromkeys(folders[:2])
    assert seen["num_gpus"] == 1 and seen["address"] == "auto" and seen["shut"]


@pytest.mark.parametrize("launcher", ["local", "ray"])
def test_an_earlier_result_is_no_reason_of_this_run(monkeypatch, folders, launcher):
    _stand_in(monkeypatch, "raise SystemExit(7)")
    for folder in folders[:2]:
        (folder / "result.json").write_text('{"status": "failed", "reason": "long ago"}')
    if launcher == "ray":
        monkeypatch.setitem(sys.modules, "ray", _ray_stand_in({}))
    ended = dict(launch.launch(folders[:2], launcher=launcher, gpus=[]))
    assert ended == dict.fromkeys(folders[:2], "ended with exit code 7; see log.txt")


@pytest.mark.slow
def test_a_sweep_runs_on_ray_itself(toys, build, results, tmp_path, monkeypatch):
    """One row is trained and measured, one fails, and an earlier reason of one is forgotten."""
    ray = pytest.importorskip("ray", reason="ray is an optional extra")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    out = tmp_path / "out"
    stale = out / "rows" / "narrow-seed0" / "result.json"
    stale.parent.mkdir(parents=True)
    stale.write_text('{"status": "failed", "reason": "long ago"}')
    row = "benchmark.rows.wide={config: toy.py, overrides: [model.explode_at=3]}"

    report = build(toys, "benchmark.launcher=ray", row).run(out)

    assert not ray.is_initialized()
    assert list(report.failures) == ["wide seed 0"]
    assert "not finite at iteration 3" in report.failures["wide seed 0"]
    found = results(out)
    assert found["narrow-seed0"]["status"] == "done" and found["wide-seed0"]["status"] == "failed"
    assert found["narrow-seed0"]["training"]["samples"] == 12


def test_missing_ray_is_said(monkeypatch, folders):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install ray"):
        list(launch.launch(folders, launcher="ray"))
