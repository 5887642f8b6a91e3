"""Several pictures of one person to one avatar, from files."""

import json
import os

import pytest
import torch
from known_person import KnownTracker

from presence.errors import InputError
from presence.io.avatar import load_avatar
from presence.io.images import save_png
from presence.pipeline import FILES, reconstruct


class TwoPictures:
    """Knows the scene as it is and mirrored colours of it; nobody is in dark pictures."""

    def __init__(self, scene):
        self.known = KnownTracker(scene)

    def track(self, portrait):
        if portrait.rgb.mean() < 0.05:
            raise InputError("nobody was found in the picture")
        return self.known.track(portrait)


@pytest.fixture
def pictures(scene, tmp_path):
    save_png(tmp_path / "a.png", scene.portrait.rgb)
    save_png(tmp_path / "b.png", 1 - scene.portrait.rgb)
    save_png(tmp_path / "dark.png", torch.zeros(3, 300, 240))
    return tmp_path


def test_the_blend_is_the_mean_where_both_look_alike(reconstructor, scene, pictures):
    """A picture and its negative, equally trusted, cancel to grey; the weights decide."""
    reconstructor.tracker = TwoPictures(scene)
    images = [pictures / "a.png", pictures / "b.png"]
    colours = {}
    for name, weights in (("even", None), ("first", [1.0, 0.0])):
        reconstructor.blend(images, pictures / name, weights)
        colours[name] = load_avatar(pictures / name / "avatar.safetensors")[0].canonical.colors
    reconstructor(images[0], pictures / "alone")
    alone = load_avatar(pictures / "alone" / "avatar.safetensors")[0].canonical.colors
    torch.testing.assert_close(colours["first"], alone, atol=1e-4, rtol=0)
    spread = (colours["even"] - 0.5).abs()
    assert spread.median() < 0.02 < 0.1 < (alone - 0.5).abs().median()


def test_files_and_report_name_every_picture(reconstructor, scene, pictures):
    reconstructor.tracker = TwoPictures(scene)
    images = [pictures / "a.png", pictures / "b.png"]
    done, problems = reconstruct(images, pictures / "out", reconstructor, blend=True)
    assert list(done) == [pictures / "out"] and not problems
    assert sorted(os.listdir(pictures / "out")) == sorted(FILES)
    report = json.loads((pictures / "out" / "report.json").read_text())
    assert report["image"]["name"] == "a.png"
    assert [entry["name"] for entry in report["blended"]] == ["b.png"]
    assert report["blended"][0]["metrics"]["psnr"] < 30


def test_a_bad_picture_is_named_and_stops_the_blend(reconstructor, scene, pictures):
    reconstructor.tracker = TwoPictures(scene)
    with pytest.raises(InputError, match="dark.png: nobody was found"):
        reconstructor.blend([pictures / "a.png", pictures / "dark.png"], pictures / "out")
    assert not (pictures / "out").exists()
