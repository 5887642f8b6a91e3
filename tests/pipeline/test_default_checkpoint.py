"""The weights that ship with the project: they fit today's code, and do the demo's job."""

import json
import os
from pathlib import Path

import pytest
import torch

from presence.config import load_config
from presence.engine.checkpoint import config_to_plain, read_weights
from presence.io.avatar import load_avatar
from presence.io.images import load_portrait, save_png
from presence.io.video import read_video
from presence.models import AvatarModel
from presence.pipeline import FILES, AvatarPlayer, load_reconstructor
from presence.pipeline.loading import load_avatar_model

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "dualuv_halfbody.safetensors"


@pytest.fixture(scope="module")
def reconstructor():
    """What `tools/reconstruct.py` loads when no option is given, with a short turntable."""
    pytest.importorskip("mediapipe")
    loaded = load_reconstructor(WEIGHTS, progress=False)
    loaded.turntable = 2
    return loaded


@pytest.fixture(scope="module")
def astronaut(reconstructor, tmp_path_factory):
    """The demo's picture, its folder and its report."""
    from skimage import data

    folder = tmp_path_factory.mktemp("demo")
    save_png(folder / "astronaut.png", torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255)
    return folder / "out", reconstructor(folder / "astronaut.png", folder / "out")


def test_the_file_is_small_half_precision_and_says_where_it_comes_from():
    tensors, header = read_weights(WEIGHTS)
    assert WEIGHTS.stat().st_size <= 40e6
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert all(value.isfinite().all() for value in tensors.values())
    assert {"commit", "device", "torch"} <= set(header["provenance"])
    assert header["iteration"] == header["schedule"]["iterations"] and header["seed"] == 0
    curve = WEIGHTS.with_suffix(".scalars.jsonl").read_text().splitlines()
    steps = [json.loads(line)["iteration"] for line in curve]
    assert steps == sorted(steps) and steps[-1] == header["iteration"]


def test_the_model_in_the_file_is_the_one_of_its_config():
    _, header = read_weights(WEIGHTS)
    wanted = config_to_plain(load_config(ROOT / "configs" / "dualuv_halfbody.py"))
    assert header["config"]["model"] == wanted["model"]


def test_every_weight_is_in_the_model_and_every_place_is_filled(reconstructor):
    tensors, _ = read_weights(WEIGHTS)
    model = reconstructor.model
    assert isinstance(model, AvatarModel) and not model.training
    state = model.state_dict()
    assert set(state) == set(tensors)
    for name, value in tensors.items():
        assert torch.equal(state[name], value.to(state[name].dtype)), name


def test_rims_of_tracked_bodies_are_distrusted_unless_the_config_says_otherwise(tmp_path):
    assert load_avatar_model(WEIGHTS)[0].projector.rims == 4
    base = ROOT / "configs" / "dualuv_halfbody.py"
    (tmp_path / "all.py").write_text(f"_base_ = ['{base}']\npipeline = dict(rims=0)\n")
    assert load_avatar_model(WEIGHTS, tmp_path / "all.py")[0].projector.rims == 0


def test_the_demos_files(astronaut):
    folder, report = astronaut
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert json.loads((folder / "report.json").read_text())["files"] == list(FILES)
    assert report["used"]["tracker"] == "FusedTracker"
    assert report["used"]["decoder"] == "DualUVDecoder"
    for name in ("portrait", "mask", "overlay", "reconstruction"):
        assert load_portrait(folder / f"{name}.png").size == (512, 512)
    frames, _, size = read_video(folder / "turntable.mp4")
    assert len(list(frames)) == 2 and size == (512, 512)


def test_the_astronaut_is_recognised(astronaut):
    """20 dB is far below what the checkpoint reaches, and far above any wrong camera or colour."""
    folder, report = astronaut
    shown, mask, drawn = (
        load_portrait(folder / f"{name}.png").rgb.double()
        for name in ("portrait", "mask", "reconstruction")
    )
    assert 0.2 < mask.mean() < 0.8
    error = ((shown * mask + 1 - mask) - drawn)[:, mask[0] >= 0.5].square().mean()
    assert -10 * error.log10() >= 20
    assert report["metrics"]["psnr"] >= 20  # there, what is drawn beside the person counts too


def test_the_astronaut_looks_right_to_lpips(astronaut):
    metrics = astronaut[1]["metrics"]
    if metrics["lpips"] is None:
        pytest.skip(metrics["missing"]["lpips"])
    assert metrics["lpips_net"] == "squeeze" and metrics["lpips"] <= 0.25


def test_the_written_avatar_moves(astronaut, reconstructor):
    """Drawn from its file: as it was, and with an arm raised, which changes part of the picture."""
    avatar, header = load_avatar(astronaut[0] / "avatar.safetensors")
    assert header["made_by"]["weights"] == WEIGHTS.name
    body = reconstructor.model.body
    player = AvatarPlayer(avatar, body)
    pose = avatar.body.pose.clone()
    pose[body.joint_names.index("left_shoulder"), 2] += 1.0
    camera = avatar.camera.resized(128, 128)
    before, after = (
        player.draw(params, camera, torch.ones(3)).rgb
        for params in (avatar.body, avatar.body.replace(pose=pose))
    )
    changed = ((before - after).abs().amax(0) > 0.05).float().mean()
    assert after.isfinite().all() and 0.02 < changed < 0.6
