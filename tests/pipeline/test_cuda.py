"""The pipeline on a GPU gives what it gives on the CPU."""

import copy
from pathlib import Path

import pytest
import torch
from known_person import KnownTracker

from presence.io.avatar import load_avatar
from presence.io.images import load_portrait, save_png
from presence.pipeline import FILES, Reconstructor, animate, animation, reconstruction

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def videos(monkeypatch):
    """Frames [T 3 H W] of every video by its path: drawn, but not encoded."""
    drawn: dict[Path, torch.Tensor] = {}

    def keep(path, frames, fps, **_):
        drawn[path] = torch.stack([frame.cpu().clone() for frame in frames])
        Path(path).write_bytes(b"")
        return len(drawn[path])

    for module in (animation, reconstruction):
        monkeypatch.setattr(module, "write_video", keep)
    return drawn


def test_reconstruction_and_animation_agree_with_the_cpu(model, scene, tmp_path, videos):
    save_png(tmp_path / "me.png", scene.portrait.rgb)
    waves, turns = [], []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        run = Reconstructor(
            copy.deepcopy(model).to(device),
            KnownTracker(scene),
            device=device,
            size=128,
            turntable=6,
            progress=False,
        )
        report = run(tmp_path / "me.png", folder)
        assert report["environment"]["device"] != "cpu" or device == "cpu"
        avatar, video = folder / "avatar.safetensors", folder / "wave.mp4"
        animate(avatar, "wave", video, fps=4, size=64, device=device, progress=False)
        waves.append(videos[video])
        turns += [frames for path, frames in videos.items() if path.name == "turntable.mp4"][-1:]
    assert {p.name for p in (tmp_path / "cuda").iterdir()} == {*FILES, "wave.mp4"}
    one, other = (load_avatar(tmp_path / d / "avatar.safetensors")[0] for d in ("cpu", "cuda"))
    torch.testing.assert_close(one.canonical.means, other.canonical.means, atol=1e-4, rtol=1e-3)
    changed = (one.canonical.colors - other.canonical.colors).abs().amax(-1) > 0.02
    assert changed.float().mean() < 0.01  # points at silhouettes may flip their visibility
    pictures = [load_portrait(tmp_path / d / "reconstruction.png").rgb for d in ("cpu", "cuda")]
    for here, there in (pictures, waves, turns):
        assert here.std() > 0.01
        assert (here - there).abs().mean() < 0.005
    assert len(waves[0]) == 12
    assert len(turns[0]) == 6
