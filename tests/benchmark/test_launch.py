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


def test_ray_runs_every_folder_as_a_task(monkeypatch, folders):
    """A stand-in for Ray with the calls that are used: tasks start when they are waited for."""
    _stand_in(monkeypatch, WORKER)
    seen = {}

    def remote(**options):
        seen.update(options)
        return lambda function: types.SimpleNamespace(remote=lambda *a: (function, a))

    ray = types.SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **options: seen.update(options),
        shutdown=lambda: seen.update(shut=True),
        cluster_resources=lambda: {"GPU": 2.0},
        remote=remote,
        wait=lambda pending, num_returns: (pending[:1], pending[1:]),
        get=lambda task: task[0](*task[1]),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)

    ended = dict(launch.launch(folders[:2], address="auto"))

    assert ended == dict.fromkeys(folders[:2])
    assert seen["num_gpus"] == 1 and seen["address"] == "auto" and seen["shut"]


def test_missing_ray_is_said(monkeypatch, folders):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install ray"):
        list(launch.launch(folders, launcher="ray"))
