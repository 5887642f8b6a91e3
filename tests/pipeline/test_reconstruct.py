import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest
import torch
from known_person import KnownTracker

from presence.errors import InputError
from presence.io.avatar import load_avatar
from presence.io.images import load_portrait, save_png
from presence.io.video import read_video
from presence.pipeline import FILES, reconstruct
from presence.pipeline.reconstruction import STAGES, TO_AVATAR
from presence.structures import Portrait


@pytest.fixture(scope="module")
def written(model, scene, tmp_path_factory):
    """One reconstruction of the drawn person, shared by the tests that only look."""
    from presence.pipeline import Reconstructor

    folder = tmp_path_factory.mktemp("one")
    save_png(folder / "me.png", scene.portrait.rgb)
    run = Reconstructor(
        model, KnownTracker(scene), size=128, turntable=6, used={"config": "t"}, progress=False
    )
    return folder, run(folder / "me.png", folder / "out")


def test_all_files_of_the_contract_are_there(written):
    folder, report = written
    assert sorted(os.listdir(folder / "out")) == sorted(FILES)
    assert sorted(os.listdir(folder)) == ["me.png", "out"]
    for name in ("portrait", "mask", "overlay", "reconstruction"):
        assert load_portrait(folder / "out" / f"{name}.png").size == (128, 128)
    frames, fps, size = read_video(folder / "out" / "turntable.mp4")
    assert len(list(frames)) == 6 and fps == 16 and size == (128, 128)


def test_the_report_says_how_good_how_long_and_with_what(written):
    folder, report = written
    stored = json.loads((folder / "out" / "report.json").read_text())
    assert stored["metrics"]["psnr"] == pytest.approx(report["metrics"]["psnr"], abs=1e-4)
    assert set(stored["metrics"]) >= {"psnr", "ssim", "lpips", "missing"}
    assert {"load", "track", *STAGES.values(), "write_avatar", "turntable"} <= set(
        stored["seconds"]
    )
    assert all(value > 0 for value in stored["seconds"].values())
    spent = sum(stored["seconds"][stage] for stage in TO_AVATAR)
    assert stored["seconds_to_avatar"] == pytest.approx(spent, abs=1e-3)
    assert stored["used"]["decoder"] == "CopyDecoder" and stored["used"]["config"] == "t"
    assert stored["used"]["tracker"] == "KnownTracker" and stored["used"]["body"] == "annyx"
    assert stored["tracker"]["notes"] == ["known"]
    chosen = stored["tracker"]["parts"]["upper"]
    assert chosen["source"] == "truth" and chosen["reason"] == "it is drawn so"
    assert str(folder) not in json.dumps(stored)  # no paths of this machine


def test_psnr_inside_the_portraits_own_mask_follows_from_the_written_pictures(written):
    folder, report = written
    shown, mask, drawn = (
        load_portrait(folder / "out" / f"{name}.png").rgb
        for name in ("portrait", "mask", "reconstruction")
    )
    wanted = shown * mask + (1 - mask)  # over white
    own = mask[0] >= 0.5
    error = (wanted - drawn)[:, own].double().square().mean()
    found = report["metrics"]["psnr_portrait"]
    assert found == pytest.approx(float(-10 * error.log10()), abs=0.05)
    assert found > report["metrics"]["psnr"]  # the copy also covers what lies beside the person


def test_the_copy_looks_like_the_portrait(written):
    """Smooth colours, copied: far above what a shift of a few pixels would leave."""
    folder, report = written
    shown = load_portrait(folder / "out" / "reconstruction.png").rgb
    portrait = load_portrait(folder / "out" / "portrait.png").rgb
    mask = load_portrait(folder / "out" / "mask.png").rgb[:1]
    inner = -torch.nn.functional.max_pool2d(-mask[None], 9, 1, 4)[0] > 0.99
    error = ((shown - portrait).square() * inner).sum() / (3 * inner.sum())
    assert -10 * torch.log10(error) > 26


def test_the_avatar_draws_itself_again(written, body, scene):
    from presence.pipeline import AvatarPlayer

    folder, _ = written
    avatar, header = load_avatar(folder / "out" / "avatar.safetensors")
    assert header["visibility"]["head"] == 1.0 and "licence" in header
    again = AvatarPlayer(avatar, body).draw(avatar.body, avatar.camera, torch.ones(3)).rgb
    stored = load_portrait(folder / "out" / "reconstruction.png").rgb
    assert (again - stored).abs().max() < 0.01
    torch.testing.assert_close(avatar.body.pose, scene.body.pose)


def test_transparency_wins_over_the_trackers_mask(reconstructor, scene, tmp_path):
    alpha = scene.portrait.alpha.clone()
    alpha[:, :150] = 0
    save_png(tmp_path / "cut.png", torch.cat([scene.portrait.rgb, alpha]))
    report = reconstructor(tmp_path / "cut.png", tmp_path / "out")
    assert "the mask is the picture's own transparency" in report["tracker"]["notes"]
    assert report["image"]["window"]["side"] != 300


def test_a_tracker_without_masks_needs_transparency(reconstructor, scene):
    reconstructor.tracker = lambda portrait: scene.tracking()
    opaque = Portrait(scene.portrait.rgb, torch.ones_like(scene.portrait.alpha))
    with pytest.raises(InputError, match="gives no mask"):
        reconstructor.track(opaque)
    assert reconstructor.track(scene.portrait)[0] is not None


@dataclasses.dataclass
class Nobody:
    """A tracker that finds nobody in dark pictures."""

    scene: object

    def track(self, portrait):
        if portrait.rgb.mean() < 0.05:
            raise InputError("nobody was found in the picture")
        return KnownTracker(self.scene).track(portrait)


def test_several_pictures_have_folders_of_their_own_and_do_not_stop_each_other(
    reconstructor, scene, tmp_path
):
    reconstructor.tracker = Nobody(scene)
    for name in ("a", "b"):
        save_png(tmp_path / f"{name}.png", scene.portrait.rgb)
    save_png(tmp_path / "dark.png", torch.zeros(3, 300, 240))
    pictures = [tmp_path / "a.png", tmp_path / "dark.png", tmp_path / "b.png"]
    done, problems = reconstruct(pictures, tmp_path / "out", reconstructor)
    assert [folder.name for folder in done] == ["a", "b"]
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "b"]
    assert list(problems) == [tmp_path / "dark.png"]
    with pytest.raises(InputError, match="nobody"):
        reconstruct(pictures[1:2], tmp_path / "other", reconstructor)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("stage", ["save_avatar", "save_png", "write_video", "write_text"])
def test_a_full_disk_leaves_nothing(reconstructor, scene, tmp_path, monkeypatch, stage):
    """Whichever file no longer fits, no folder appears and an older result stays."""
    import presence.pipeline.reconstruction as module

    def full(path: Path, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    save_png(tmp_path / "me.png", scene.portrait.rgb)
    old = tmp_path / "old"
    old.mkdir()
    (old / "report.json").write_text("old")
    monkeypatch.setattr(
        module, stage, (lambda _, *a, **k: full(a[0])) if stage == "save_avatar" else full
    )
    for out in (tmp_path / "new" / "out", old):
        with pytest.raises(OSError) as caught:
            reconstructor(tmp_path / "me.png", out)
        assert caught.value.errno == errno.ENOSPC
        assert Path(caught.value.filename).parent == out
    assert sorted(os.listdir(tmp_path)) == ["me.png", "old"]
    assert (old / "report.json").read_text() == "old"
