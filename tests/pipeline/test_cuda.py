"""The pipeline on a GPU gives what it gives on the CPU."""

import copy

import pytest
import torch
from known_person import KnownTracker

from presence.io.avatar import load_avatar
from presence.io.images import load_portrait, save_png
from presence.io.video import read_video
from presence.pipeline import FILES, Reconstructor, animate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_reconstruction_and_animation_agree_with_the_cpu(model, scene, tmp_path):
    save_png(tmp_path / "me.png", scene.portrait.rgb)
    for device in ("cpu", "cuda"):
        run = Reconstructor(
            copy.deepcopy(model).to(device),
            KnownTracker(scene),
            device=device,
            size=128,
            turntable=6,
            progress=False,
        )
        report = run(tmp_path / "me.png", tmp_path / device)
        assert report["environment"]["device"] != "cpu" or device == "cpu"
        avatar = tmp_path / device / "avatar.safetensors"
        video = tmp_path / device / "wave.mp4"
        animate(avatar, "wave", video, fps=4, size=64, device=device, progress=False)
        assert len(list(read_video(video)[0])) == 12
    assert {p.name for p in (tmp_path / "cuda").iterdir()} == {*FILES, "wave.mp4"}
    one, other = (load_avatar(tmp_path / d / "avatar.safetensors")[0] for d in ("cpu", "cuda"))
    torch.testing.assert_close(one.canonical.means, other.canonical.means, atol=1e-4, rtol=1e-3)
    changed = (one.canonical.colors - other.canonical.colors).abs().amax(-1) > 0.02
    assert changed.float().mean() < 0.01  # points at silhouettes may flip their visibility
    pictures = (load_portrait(tmp_path / d / "reconstruction.png").rgb for d in ("cpu", "cuda"))
    difference = torch.stack(list(pictures)).diff(dim=0).abs()
    assert difference.mean() < 0.005
