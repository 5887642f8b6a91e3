"""The regime map's benchmark: it measures who is there, resumes, and writes what the gate reads."""

from __future__ import annotations

import json
import math

import pytest
import torch

from presence.benchmark import TrackerMap
from presence.bodies import load_body
from presence.errors import ConfigError, InputError
from presence.interfaces import Estimator
from presence.io.images import save_png
from presence.structures import PART_JOINTS, Camera, Cues, Portrait, Tracking, View
from presence.testing.toy_training import toy_camera
from presence.tracking.detection import Detection
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.measuring.turned_people import TurnedPeople
from presence_plugins.trackers.mediapipe_tracker import MediaPipeTracker


class Nobody(Estimator):
    """Finds nobody, but sees what it is told."""

    name, asset, parts = "nobody", "", tuple(PART_JOINTS)
    asked: list[Cues] = []

    def __init__(self, device: str = "cpu") -> None:
        self.asked.clear()

    def __call__(self, portrait: Portrait, cues: Cues):
        self.asked.append(cues)
        return ()


class Drawn:
    """People in the rest pose before one camera; nothing is rendered."""

    def __init__(self, body, yaws):
        self.body = body

    def view(self, framing, number, index):
        eye, aim = torch.tensor([0.0, 0.0, 6.0]), torch.tensor([0.0, -0.2, 0.0])
        camera = Camera.look_at(eye, aim, 0.5, 64, 64)
        portrait = Portrait(torch.zeros(3, 64, 64), torch.ones(1, 64, 64))
        return View(portrait, self.body.default_params(), camera)


@pytest.fixture
def small(monkeypatch):
    """A run on tiny pictures whose detector sees one pose in frontal people and nobody else."""
    monkeypatch.setattr("presence.tracking.measuring.turned_people.TurnedPeople", Drawn)
    bench = TrackerMap(
        people=1,
        yaws=(0, 30, 180),
        estimators={"nobody": dict(type=Nobody), "osx": dict(type="OsxEstimator")},
    )
    return bench


@pytest.fixture
def detector(monkeypatch):
    calls = []

    def detect(self, portrait):
        calls.append(portrait)
        if len(calls) > 3:  # the first three people are those of the first range
            raise InputError("nobody was found in the picture")
        pose = torch.full((33, 3), 20.0)
        pose[:, 2] = 0.2 * len(calls)
        return None, Detection(64, 64, {"pose": pose})

    def fit(self, portrait, detection):
        camera = toy_camera(64)
        seen = dict.fromkeys(("head", "upper", "lower", "left_hand", "right_hand"), 1.0)
        return Tracking(self.body.default_params(), camera, seen)

    monkeypatch.setattr(MediaPipeTracker, "detect", detect)
    monkeypatch.setattr(MediaPipeTracker, "cut_out", lambda self, portrait, i, d: portrait)
    monkeypatch.setattr(MediaPipeTracker, "fit", fit)
    return calls


def test_a_run_writes_a_map_and_goes_on_where_it_stopped(small, detector, tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path / "none"))
    report = small.run(tmp_path / "out")
    assert "| mediapipe | head | 0-30 |" in report.table
    assert "Not measured: osx: its file is missing." in report.table
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and len(detector) == 6
    assert rows[0]["sight"]["yaw"] == 0.0 and rows[5]["sight"] is None
    assert rows[5]["found"] == {
        "mediapipe": "nobody was found in the picture",
        "nobody": "it found nobody",
    }
    assert rows[0]["found"]["mediapipe"]["body"] > 0
    first, last = Nobody.asked[0], Nobody.asked[-1]
    assert "pose" in first.keypoints and last.keypoints == {}
    assert last.person is not None  # the true mask's box where nobody was detected
    found = RegimeMap.load(tmp_path / "out" / "regimes.json")
    assert found.order["half"]["body"][0].estimator == "osx"
    by_name = {rule.estimator: rule for rule in found.order["half"]["body"]}
    assert by_name["osx"].basis == "stated" and by_name["mediapipe"].basis == "measured"
    assert found.provenance["people"] == 6 and len(found.cells) == 12
    again = small.run(tmp_path / "out")
    assert len(detector) == 6 and again.table == report.table


def test_pictures_with_keypoints(small, detector, tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(small, "people", 0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    save_png(folder / "me.png", torch.rand(3, 64, 64))
    points = {"left_shoulder": [30, 20], "right_shoulder": [10, 20], "left_hip": [28, 40]}
    (folder / "me.json").write_text(json.dumps({"keypoints": points}))
    small.pictures = folder
    report = small.run(tmp_path / "out")
    measured = json.loads((tmp_path / "out" / "pictures.json").read_text())
    assert measured["me.png"]["nobody"] == "it found nobody"
    assert measured["me.png"]["mediapipe"]["keypoints"] > 0
    assert "| nobody | 1 | 1 |" in report.table
    (folder / "me.json").write_text('{"keypoints": {"knee": [1, 2]}}')
    with pytest.raises(InputError, match="unknown keypoints \\['knee'\\]"):
        small.run(tmp_path / "out")


def test_options_are_checked_before_anything_is_measured(tmp_path):
    with pytest.raises(ConfigError, match="rising"):
        TrackerMap(yaws=(0, 30, 20))
    with pytest.raises(ConfigError, match="no folder"):
        TrackerMap(pictures="none", folder=tmp_path)
    with pytest.raises(ConfigError, match="limits"):
        TrackerMap(limits={"boddy": 3})


def test_turned_people_are_turned_as_far_as_asked():
    body = load_body("annyx")
    people = TurnedPeople(body, [(0.0, 20.0), (100.0, 130.0)], supersample=1)
    for number, (low, high) in enumerate(people.yaws):
        view = people.view("half", number, 3)
        root = view.body.pose[0, 1]
        towards = -view.camera.cam_from_world[2, :3]  # from the person to the camera
        facing = math.degrees(math.atan2(float(towards[0]), float(towards[2])) - float(root))
        facing = abs((facing + 180) % 360 - 180)
        assert low - 1 <= facing <= high + 1
