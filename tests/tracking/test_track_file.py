"""tools/track.py: which body and which tracker, and what it says of what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from presence.bodies.loading import embedded_path
from presence.config import load_config
from presence.errors import ConfigError
from presence.io.images import save_png
from presence.registry import BENCHMARKS, TRACKERS
from presence.structures import Tracking
from presence.testing.toy_training import ToyTracker
from presence.tracking.default import DEFAULT_TRACKER, tracker_config
from presence.tracking.files import load_tracking
from presence.tracking.track_file import track_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stand_in():
    """A tracker that notes the options that it is given."""

    class StandInTracker(ToyTracker):
        given: dict = {}

        def __init__(self, body, fov, landmarks=None, device="cpu"):
            self.body = body
            StandInTracker.given = dict(body=body.name, fov=fov, landmarks=landmarks)
            StandInTracker.device = device

        def track(self, portrait):
            cut_out, tracking = super().track(portrait)
            return cut_out, Tracking(self.body.default_params(), tracking.camera)

    TRACKERS.register_module(name="StandInTracker", module=StandInTracker)
    yield StandInTracker
    TRACKERS.module_dict.pop("StandInTracker")


@pytest.fixture
def picture(tmp_path):
    rgb = torch.zeros(3, 64, 64)
    rgb[:, 20:50, 20:40] = 0.8
    save_png(tmp_path / "me.png", rgb)
    return tmp_path / "me.png"


def test_the_body_is_the_one_that_was_asked_for(tool, stand_in, picture, tmp_path):
    own, out = tmp_path / "SMPLX_NEUTRAL.npz", tmp_path / "t.npz"
    with np.load(embedded_path()) as file:  # the open body in SMPL-X's layout stands in
        np.savez(own, **{name: file[name] for name in file.files if name != "name"})
    common = ["--tracker", "StandInTracker", "--out", out, "--overlay", tmp_path / "o.png"]
    code, printed, _ = tool("track", picture, *common, "--body", own, "--landmarks", "mine.npz")
    assert code == 0 and printed.endswith(f"Wrote {out}, {tmp_path / 'o.png'}.\n")
    assert stand_in.given == dict(body="SMPLX_NEUTRAL", fov=20.0, landmarks="mine.npz")
    with np.load(out) as file:
        assert str(file["body_name"]) == "SMPLX_NEUTRAL"
    assert load_tracking(out, body_name="SMPLX_NEUTRAL").camera.width == 64
    # As the front view of a picture that is tracked with the default body, it does not do.
    code, printed, said = tool("track", picture, *common, "--facing", "left", "--front", out)
    assert code == 2 and printed == "" and said.startswith("error: ") and said.count("\n") == 1
    assert "body `SMPLX_NEUTRAL`, but `annyx` is in use" in said


@pytest.fixture
def any_device(monkeypatch):
    """A machine on which every device is there."""
    monkeypatch.setattr("presence.pipeline.player.resolve_device", torch.device)
    monkeypatch.setattr("presence.pipeline.loading.resolve_device", torch.device)


def test_the_device_reaches_the_tracker_of_a_picture(stand_in, picture, tmp_path, any_device):
    from presence.tracking.track_file import track_file

    common = dict(tracker={"type": "StandInTracker", "fov": 20.0}, out=tmp_path / "t.npz")
    track_file(picture, **common)
    assert stand_in.device == "cpu"
    track_file(picture, **common, device="cuda")
    assert stand_in.device == "cuda"
    named = common["tracker"] | {"device": "cpu"}
    track_file(picture, **(common | {"tracker": named}), device="cuda")
    assert stand_in.device == "cpu"  # what a config says stays


def test_the_device_reaches_the_tracker_of_a_video(stand_in, picture, tmp_path, any_device):
    from presence.tracking.track_file import track_file

    with pytest.raises(ConfigError, match="pictures only"):
        track_file(
            tmp_path, {"type": "StandInTracker", "fov": 20.0}, tmp_path / "t.npz", device="cuda:0"
        )
    assert stand_in.device == "cuda:0"


def test_the_device_reaches_the_tracker_of_a_driver(stand_in, picture):
    from presence.pipeline.reenactment import find_driver

    find_driver(str(picture), tracker={"type": "StandInTracker", "fov": 20.0}, device="cuda")
    assert stand_in.device == "cuda"


def test_the_estimators_and_the_stages_get_the_trackers_device(monkeypatch):
    from presence_plugins.trackers import fused_tracker

    class Recording:
        asset = ""

        def __init__(self, device):
            self.device = device

    stages = []
    monkeypatch.setattr(fused_tracker, "StartRefiner", lambda *_, **given: stages.append(given))
    config = dict(type="FusedTracker", estimators={"osx": dict(type=Recording)})
    tracker = TRACKERS.build(config, device="meta")
    assert tracker.estimator("osx").device == "meta"
    assert tracker.refiner is None
    assert stages == [{"device": "meta", "regimes": tracker.regimes}]


def test_the_pipeline_builds_its_tracker_for_its_device(stand_in, monkeypatch, any_device):
    from presence.bodies import load_body
    from presence.pipeline import loading

    model = type("Model", (), {"body": load_body("annyx")})()
    settings = {"tracker": {"type": "StandInTracker", "fov": 20.0}}
    monkeypatch.setattr(loading, "load_avatar_model", lambda *a, **k: (model, settings))
    monkeypatch.setattr(loading, "Reconstructor", lambda *a, **k: a)
    loading.load_reconstructor("w", device="cuda")
    assert stand_in.device == "cuda"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{picture}", "--body", "annix"], "unknown body `annix`. Available: annyx, smplx"),
        (["{picture}", "--tracker", "StandInTraker"], "Did you mean `StandInTracker`"),
        (["none.png"], "none.png does not exist"),
        (["{folder}", "--mask", "m.png"], "--mask is for pictures"),
        (["{folder}"], "pictures only"),
    ],
)
def test_what_does_not_fit_is_one_line(tool, stand_in, picture, tmp_path, arguments, says):
    given = [text.format(picture=picture, folder=tmp_path) for text in arguments]
    if "--tracker" not in given:
        given += ["--tracker", "StandInTracker"]
    code, printed, said = tool("track", *given, "--out", tmp_path / "t.npz")
    assert code == 2 and printed == "" and says in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["me.png"]


def test_one_tracker_is_the_default_everywhere(tool):
    assert DEFAULT_TRACKER in TRACKERS.names() and tracker_config() == {"type": DEFAULT_TRACKER}
    for name in ("track", "animate"):
        assert f"default: {DEFAULT_TRACKER}" in " ".join(tool(name, "--help")[1].split())
    for path in sorted((ROOT / "configs").rglob("*.py")):
        if path.parent.name == "_base_" and path.name != "runtime.py":
            continue
        config = load_config(path)
        assert config.get("tracker", {}).get("type", DEFAULT_TRACKER) == DEFAULT_TRACKER, path
        test = (config.get("data") or {}).get("test") or {}
        assert "tracker" not in test, path
        benchmark = dict(config.get("benchmark") or {})
        if benchmark.get("type") in ("TrackingAccuracy", "TrackingVideo", "TurnedAccuracy"):
            assert BENCHMARKS.build(benchmark).tracker == tracker_config()


def test_how_often_sapiens_looks_comes_from_the_command_line(tmp_path, monkeypatch):
    from presence.tracking import running
    from presence.tracking.video.writing import VideoResult

    given = []

    def track_video(*_, options, **__):
        given.append(options.sapiens_every)
        return VideoResult(1, 1, 25.0)

    monkeypatch.setattr(running, "track_video", track_video)
    for every in (None, 0, 3):
        track_file(tmp_path, {"type": "FusedTracker"}, tmp_path / "t.npz", sapiens_every=every)
    assert given == [2, 0, 3]
    with pytest.raises(ConfigError, match="sapiens_every should be 0 or more"):
        track_file(tmp_path, {"type": "FusedTracker"}, tmp_path / "t.npz", sapiens_every=-1)
