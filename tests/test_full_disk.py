"""Every tool on a disk that is full: one line, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from presence.io.atomic import append_line
from presence.io.avatar import save_avatar
from presence.io.images import save_png
from presence.registry import BENCHMARKS, TRACKERS
from presence.structures import Avatar, BodyParams, Camera, Gaussians, SurfaceBinding, Tracking
from presence.testing.toy_training import ToyTracker, toy_config
from presence.tracking.video.parts import Part, join_parts

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def full(monkeypatch):
    """Makes the disk full for every file beyond some bytes, until the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def tool(tool, full):
    """Runs a tool with room for files of so many bytes; returns exit code and stderr."""

    def run(name, limit, *arguments):
        full(limit)
        code, _, said = tool(name, *arguments)
        return code, said

    return run


def check_whole(folder: Path) -> None:
    """Fails on temporary files, and on files that cannot be read to their end."""
    for path in folder.rglob("*"):
        assert not path.name.startswith("."), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
        elif path.suffix in (".png", ".jpg"):
            Image.open(path).load()
        else:
            assert path.is_dir() or path.suffix not in (".npz", ".safetensors", ".pth"), path


class DiskTracker(ToyTracker):
    def __init__(self, body, fov):
        self.body = body

    def track(self, portrait):
        cut_out, tracking = super().track(portrait)
        return cut_out, Tracking(self.body.default_params(), tracking.camera)


class NobodyTracker(DiskTracker):
    def __init__(self, body, fov):
        from presence.tracking.fitting import BodyFitter
        from presence.tracking.landmarks import LandmarkMap

        self.fitter, self.detector = BodyFitter(body, LandmarkMap.load("annyx")), None
        self.segmenter = None


@pytest.fixture(autouse=True)
def trackers():
    for cls in (DiskTracker, NobodyTracker):
        TRACKERS.register_module(name=cls.__name__, module=cls, force=True)
    yield
    for cls in (DiskTracker, NobodyTracker):
        TRACKERS.module_dict.pop(cls.__name__)


def picture(folder: Path) -> Path:
    rgb = torch.zeros(3, 64, 64)
    rgb[:, 20:50, 20:40] = torch.rand(3, 30, 20, generator=torch.Generator().manual_seed(0))
    save_png(folder / "me.png", rgb)
    return folder / "me.png"


def clip(folder: Path) -> Path:
    for number in range(3):
        save_png(folder / "clip" / f"{number}.png", torch.zeros(3, 64, 64))
    return folder / "clip"


def avatar(folder: Path) -> Path:
    generator, side = torch.Generator().manual_seed(1), 32
    count = side * side

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    uv = torch.stack([(columns + 0.5) / side, 1 - (rows + 0.5) / side], -1).reshape(-1, 2)
    made = Avatar(
        canonical=Gaussians(
            rand(count, 3), rand(count, 4), rand(count, 3), rand(count), rand(count, 3)
        ),
        body=BodyParams(rand(4), rand(5), rand(55, 3), rand(3)),
        camera=Camera(rand(3, 3), rand(4, 4), width=320, height=200),
        binding=SurfaceBinding(torch.zeros(count, 3, dtype=torch.long), rand(count, 3), uv),
        rotate_with_skin=False,
    )
    save_avatar(made, folder / "avatar.safetensors", {"body": "annyx"})
    return folder / "avatar.safetensors"


def use_config(monkeypatch, **changes) -> None:
    """Configs are read through temporary copies, so they are here before the disk is full."""
    config = Config(toy_config(**changes))
    monkeypatch.setattr("presence.config.load_config", lambda *_: config)


TRACK = ["track", "--tracker", "DiskTracker", "--out", "{out}/t.npz"]
TEST = dict(type="ToyPeople", first_seed=200, num_subjects=2)


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (1500, [*TRACK, "{picture}"]),
        (300, [*TRACK, "{picture}", "--overlay", "{out}/o.png"]),
        (100, [*TRACK, "{picture}", "--mask", "{out}/m.png"]),
        (200, ["track", "{clip}", "--tracker", "NobodyTracker", "--out", "{out}/t.npz"]),
        (100, ["synthesize", "any", "--subjects", "2", "--out", "{out}"]),
        (1000, ["synthesize", "any", "--subjects", "2", "--out", "{out}"]),
        (100, ["test", "any", "none", "--out", "{out}"]),
        (700, ["test", "any", "none", "--out", "{out}"]),
        (900, ["benchmark", "any", "--out", "{out}"]),
        (1000, ["edit", "{avatar}", "--export-map", "{out}/map.png"]),
        (1000, ["export", "{avatar}", "--out", "{out}/a.ply"]),
        (20000, ["export", "{avatar}", "--out", "{out}/a.html"]),
        (1000, ["import_weights", "any", "any", "--out", "{out}/w.safetensors"]),
        (200, ["train", "any", "--work-dir", "{out}"]),
        (2000, ["train", "any", "--work-dir", "{out}"]),
        (9000, ["train", "any", "--work-dir", "{out}"]),
        (18000, ["train", "any", "--work-dir", "{out}"]),
    ],
)
def test_a_full_disk_is_one_line(tool, limit, arguments, tmp_path, monkeypatch):
    places = dict(out=tmp_path / "out")
    for make in (picture, clip, avatar):
        if any(make.__name__ in argument for argument in arguments):
            places[make.__name__] = make(tmp_path)
    use_config(
        monkeypatch,
        data=dict(train=dict(type="ToyPeople"), val=dict(type="ToyPeople"), test=TEST),
        logging=dict(interval=1, pictures=2),
        benchmark=dict(type="TrackingAccuracy", people=1),
    )
    monkeypatch.setattr("presence.models.official.load_official", lambda *_: None)
    monkeypatch.setattr("presence.models.official.find_weights", lambda *_, **__: Path("any"))
    rows = iter([{"name": "half_0", "framing": "half", "failed": "x" * 200}] * 3)
    cls = BENCHMARKS.lookup("TrackingAccuracy")
    monkeypatch.setattr(cls, "_measure", lambda self, wanted: rows)
    if arguments[0] == "benchmark":  # what was measured before fills the disk
        (tmp_path / "out").mkdir()
        append_line(tmp_path / "out" / "rows.jsonl", json.dumps({"name": "y" * 600}))
    code, err = tool(arguments[0], limit, *(text.format(**places) for text in arguments[1:]))
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    assert lines[0].startswith(f"error: file too large: {tmp_path / 'out'}")
    check_whole(tmp_path / "out")


def test_a_line_that_does_not_fit_is_not_begun(full, tmp_path):
    path = tmp_path / "rows.jsonl"
    append_line(path, "a" * 60)
    full(100)
    with pytest.raises(OSError) as caught:
        append_line(path, "b" * 60)
    assert caught.value.filename == str(path)
    append_line(path, "c")
    assert path.read_text() == "a" * 60 + "\nc\n"


def test_a_video_that_does_not_fit_leaves_its_old_file(full, tmp_path):
    generator = torch.Generator().manual_seed(0)
    params = BodyParams(
        torch.rand(4, 8, generator=generator),
        torch.rand(4, 6, generator=generator),
        torch.rand(4, 55, 3, generator=generator),
        torch.rand(4, 3, generator=generator),
    )
    part = Part(
        params, torch.ones(4, 5), torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    )
    path = tmp_path / "t.npz"
    path.write_bytes(b"old")
    full(1000)
    with pytest.raises(OSError) as caught:
        join_parts(path, lambda: iter([part]), 4, {"fps": np.array(25.0)})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["t.npz"]
