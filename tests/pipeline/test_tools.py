"""The two tools from the command line: what they print, write, and answer to bad input."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from known_person import MODEL, KnownTracker
from PIL import Image
from safetensors.torch import save_file

from presence.io.images import save_png
from presence.pipeline import FILES
from presence.registry import TRACKERS

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def files(scene, model, tmp_path_factory):
    """A config with its weights, and a picture; the tracker knows the truth."""

    class ToolTracker(KnownTracker):
        def __init__(self) -> None:
            super().__init__(scene)

    TRACKERS.register_module(name="ToolTracker", module=ToolTracker, force=True)
    folder = tmp_path_factory.mktemp("files")
    pipeline = {"size": 128, "turntable": 6}
    config = {"model": MODEL, "tracker": {"type": "ToolTracker"}, "pipeline": pipeline}
    (folder / "tiny.py").write_text("".join(f"{k} = {v!r}\n" for k, v in config.items()))
    weights = {name: value.half() for name, value in model.state_dict().items()}
    save_file(weights, folder / "tiny.safetensors", {"config": json.dumps(config), "format": "1"})
    save_png(folder / "me.png", scene.portrait.rgb)
    return folder


def one_error_line(result: tuple[int, str, str]) -> str:
    code, out, err = result
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and out == "" and len(lines) == 1 and "Traceback" not in err, result
    return lines[0]


def test_reconstruct_then_animate(tool, files, tmp_path):
    weights = files / "tiny.safetensors"
    code, out, err = tool(
        "reconstruct", files / "me.png", "--out", tmp_path / "me", "--weights", weights
    )
    assert code == 0 and "PSNR" in out and "dB" in out and "report.json" in out, err
    assert sorted(os.listdir(tmp_path / "me")) == sorted(FILES)
    avatar = tmp_path / "me" / "avatar.safetensors"
    options = ["--motion", "wave", "--fps", "3", "--size", "64", "--view", "orbit"]
    code, out, _ = tool("animate", avatar, *options, "--out", tmp_path / "wave.mp4")
    assert code == 0 and "9 frames at 3 a second" in out
    assert (tmp_path / "wave.mp4").stat().st_size > 500


def test_several_pictures_one_of_them_bad(tool, files, tmp_path):
    (tmp_path / "bad.jpg").write_text("hello")
    pictures = [files / "me.png", tmp_path / "bad.jpg"]
    code, out, err = tool(
        "reconstruct", *pictures, "--out", tmp_path / "out", "--weights", files / "tiny.safetensors"
    )
    assert code == 2 and "PSNR" in out and "bad.jpg is not a picture" in err
    assert os.listdir(tmp_path / "out") == ["me"]


def test_blending_writes_one_avatar(tool, files, tmp_path):
    picture, weights = files / "me.png", files / "tiny.safetensors"
    command = ["reconstruct", picture, picture, "--blend", "--weights", weights]
    code, out, err = tool(*command, "--out", tmp_path / "out")
    assert code == 0 and "PSNR" in out, err
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["blended"]) == 1


def test_a_single_picture_cannot_be_blended(tool, files, tmp_path):
    picture, weights = files / "me.png", files / "tiny.safetensors"
    command = ["reconstruct", picture, "--blend", "--weights", weights]
    result = tool(*command, "--out", tmp_path / "out")
    assert "--blend joins several pictures" in one_error_line(result)
    assert os.listdir(tmp_path) == []


def unusable(kind: str, folder: Path) -> Path:
    path = folder / "picture.png"
    if kind == "not a picture":
        path.write_text("hello")
    elif kind == "is empty":
        path.touch()
    elif kind == "damaged":
        Image.effect_noise((200, 200), 50).save(path)
        path.write_bytes(path.read_bytes()[:9000])
    elif kind == "too small":
        Image.new("RGB", (16, 16)).save(path)
    return path


@pytest.mark.parametrize(
    "kind", ["does not exist", "not a picture", "is empty", "damaged", "too small"]
)
def test_bad_pictures(tool, files, tmp_path, kind):
    picture = unusable(kind, tmp_path)
    before = os.listdir(tmp_path)
    result = tool(
        "reconstruct", picture, "--out", tmp_path / "out", "--weights", files / "tiny.safetensors"
    )
    assert kind in one_error_line(result) and os.listdir(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--weights", "none.safetensors"], "none.safetensors do not exist"),
        (["--config", "none.py"], "none.py does not exist"),
        (["--config", "{files}/tiny.py", "--set", "model.map_sise=64"], "Did you mean `map_size`"),
        (
            ["--config", "{files}/tiny.py", "--set", "tracker.type=ToolTraker"],
            "Did you mean `ToolTracker`",
        ),
        (["--set", "model.map_size=64"], "give --config"),
        (["--config", "{files}/tiny.py", "--set", "pipeline.turntable=no"], "pipeline.turntable"),
        (["--config", "{files}/odd.py"], "Did you mean `turntable`"),
        (
            ["--config", "{files}/tiny.py", "--set", "model.encoder.out_channels=4"],
            "another config",
        ),
        (["--config", "{files}/broken.py"], "cannot be read"),
        (["--device", "cuda:99"], "not available"),
        (["--weights", "{files}/tiny.py"], "checkpoint"),
        (["--weights", "{files}/cut.safetensors"], "not a readable safetensors"),
    ],
)
def test_bad_configs_and_weights(tool, files, tmp_path, options, says):
    (files / "broken.py").write_text("model = dict(\n")
    odd = (files / "tiny.py").read_text().replace("'turntable'", "'turntabel'")
    (files / "odd.py").write_text(odd)
    whole = (files / "tiny.safetensors").read_bytes()
    (files / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    given = [option.format(files=files) for option in options]
    if "--weights" not in given:
        given += ["--weights", files / "tiny.safetensors"]
    result = tool("reconstruct", files / "me.png", "--out", tmp_path / "out", *given)
    assert says in one_error_line(result) and os.listdir(tmp_path) == []


def test_full_disk(tool, files, tmp_path, monkeypatch):
    import presence.pipeline.reconstruction as module

    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(module, "save_png", full)
    result = tool(
        "reconstruct",
        files / "me.png",
        "--out",
        tmp_path / "out",
        "--weights",
        files / "tiny.safetensors",
    )
    assert "no space left on device" in one_error_line(result) and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.safetensors", "--motion", "wave", "--out", "{out}/a.mp4"], "does not exist"),
        (["{files}/me.png", "--motion", "wave", "--out", "{out}/a.mp4"], "not an avatar"),
        (["{files}/tiny.safetensors", "--motion", "wave", "--out", "{out}/a.mp4"], "not an avatar"),
        (["x", "--motion", "wafe", "--out", "{out}/a.mp4"], "Did you mean `wave`"),
        (["x", "--motion", "{files}/tiny.py", "--out", "{out}/a.mp4"], "not a motion file"),
        (["x", "--motion", "wave", "--out", "{out}/a.avi"], "should end in"),
    ],
)
def test_bad_animations(tool, files, tmp_path, arguments, says):
    given = [argument.format(files=files, out=tmp_path) for argument in arguments]
    assert says in one_error_line(tool("animate", *given)) and os.listdir(tmp_path) == []


def test_a_process_of_its_own_prints_one_line_and_nothing_else(tmp_path):
    command = [
        sys.executable,
        str(TOOLS / "reconstruct.py"),
        "no.png",
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: picture no.png does not exist\n"
    assert os.listdir(tmp_path) == []


def test_weights_are_half_precision_on_disk_and_float_in_the_model(files):
    from presence.engine.checkpoint import load_model

    loaded = load_model(files / "tiny.safetensors")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
