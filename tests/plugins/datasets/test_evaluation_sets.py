"""Evaluation sets on miniature copies of their layouts, tracked by a toy."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from presence.config import load_config
from presence.datasets.rigs import angle_between
from presence.datasets.splits import seeded_choice
from presence.errors import AssetError, ConfigError, InputError
from presence.io.images import save_png
from presence.io.video import count_frames, read_frames, write_video
from presence.registry import DATASETS
from presence.structures import Camera
from presence.testing.contracts import check_dataset
from presence.testing.toy_training import ToyTracker

SIDE = 96
CONFIGS = Path(__file__).parents[3] / "configs" / "evaluation"


def disc(
    red: float, green: float = 0.2, height: int = SIDE, width: int = SIDE, blue: float = 0.5
) -> torch.Tensor:
    """A disc of a known colour on black."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < 30**2
    return torch.tensor([red, green, blue])[:, None, None] * inside


def film(path, reds, green=0.2, height=SIDE, width=SIDE):
    """A video whose frames are discs of these reds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [disc(red, green, height, width) for red in reds], 10, quality=4)


def red_of(view) -> float:
    """The red of the middle, where the disc is."""
    size = view.portrait.size[0]
    middle = slice(size // 2 - 4, size // 2 + 4)
    return view.portrait.rgb[0, middle, middle].mean().item()


@pytest.fixture
def build(tmp_path):
    def build(name, root=None, **options):
        options = dict(tracker=dict(type="ToyTracker"), size=64, count=None) | options
        root = None if root is None else str(root)
        return DATASETS.build(dict(type=name, root=root, cache=str(tmp_path / "cache"), **options))

    return build


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    film(root / "film.mp4", (0.3, 0.5, 0.7, 0.8, 0.9))
    (root / "steps").mkdir()
    for number, red in enumerate((0.4, 0.6, 0.8)):
        save_png(root / "steps" / f"{number:03d}.png", disc(red))
    save_png(root / "still.png", disc(0.45))
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 20:80, 30:70] = 1
    save_png(root / "still_mask.png", mask)
    (root / "notes.txt").write_text("no clip")
    return root


def test_clips_are_videos_folders_and_pictures(clips, build):
    data = build("ClipFolder", clips)
    found = {name: data[data.usable.index(name)] for name in data.usable}
    assert set(found) == {"film.mp4", "steps", "still.png"}
    for name, reference, target in (("film.mp4", 0.3, 0.7), ("steps", 0.4, 0.6)):
        assert red_of(found[name].reference) == pytest.approx(reference, abs=0.02)
        assert red_of(found[name].target) == pytest.approx(target, abs=0.02)
        # One person has one shape: that of the reference.
        assert found[name].target.body.betas[0].item() == pytest.approx(reference, abs=0.02)
    still = found["still.png"]
    torch.testing.assert_close(still.reference.portrait.rgb, still.target.portrait.rgb)
    height = (still.reference.portrait.alpha[0] > 0.5).any(1).sum().item()
    width = (still.reference.portrait.alpha[0] > 0.5).any(0).sum().item()
    assert width / height == pytest.approx(40 / 60, abs=0.05)  # its own mask, not the disc


def test_the_data_set_keeps_the_contract(clips, build):
    check_dataset(build("ClipFolder", clips))


def test_pictures_are_tracked_once(clips, build, monkeypatch):
    first = build("ClipFolder", clips)
    samples = [first[index] for index in range(len(first))]

    def again(self, portrait):
        raise AssertionError("tracked again")

    monkeypatch.setattr(ToyTracker, "track", again)
    second = build("ClipFolder", clips)
    assert second.usable == first.usable
    torch.testing.assert_close(second[1].target.portrait.rgb, samples[1].target.portrait.rgb)
    with pytest.raises(AssertionError, match="tracked again"):
        len(build("ClipFolder", clips, target=1.0))  # other pictures


def test_untracked_pictures_are_left_out_and_named(clips, build, tmp_path, caplog):
    root = tmp_path / "some"
    root.mkdir()
    save_png(root / "empty.png", torch.full((3, SIDE, SIDE), 0.5))
    save_png(root / "full.png", disc(0.6))
    data = build("ClipFolder", root)
    assert len(data) == 1 and data.usable == ["full.png"]
    assert "left out 1 of 2, untracked: empty.png (nobody was found" in caplog.text
    (root / "full.png").unlink()
    with pytest.raises(InputError, match="no picture could be tracked: empty.png"):
        len(build("ClipFolder", root))


def test_a_choice_is_nested_seeded_and_spreads_over_people():
    clips = [f"{who}_{number}" for who in range(40) for number in range(3)]
    of = lambda name: name.split("_")[0]  # noqa: E731
    chosen = seeded_choice(clips, 30, 0, of)
    assert len({of(name) for name in chosen}) == 30
    assert seeded_choice(reversed(clips), 50, 0, of)[:30] == chosen
    assert sorted(of(n) for n in seeded_choice(clips, 40, 0, of)) == sorted(map(str, range(40)))
    assert set(chosen) != set(seeded_choice(clips, 30, 1, of))
    assert sorted(seeded_choice(clips, None, 0, of)) == sorted(clips)
    assert seeded_choice("abcdef", 3, 0) == ["a", "e", "b"]  # lists stay as they are


def test_openhumanvid_takes_source_videos_once(build, tmp_path):
    root = tmp_path / "ohv"
    names = [f"{video}_{start:06d}_{start + 90:06d}" for video in ("a1", "b2") for start in (5, 99)]
    for position, name in enumerate(names):
        film(root / f"part{position % 2}" / f"{name}.mp4", (0.3 + 0.1 * position, 0.9))
    two = build("OpenHumanVid", root, count=2)
    check_dataset(two)
    assert {two.person(name) for name in two.names} == {"a1", "b2"}
    (root / "test.csv").write_text(f"id,video\n0,{names[3]}.mp4\n1,elsewhere/{names[0]}.mp4\n")
    listed = build("OpenHumanVid", root, table="test.csv", target=1.0)
    expected = {f"part0/{names[0]}.mp4", f"part1/{names[3]}.mp4"}
    assert set(listed.names) == expected
    sample = listed[listed.usable.index(f"part1/{names[3]}.mp4")]
    assert red_of(sample.reference) == pytest.approx(0.6, abs=0.02)
    assert red_of(sample.target) == pytest.approx(0.9, abs=0.02)
    with pytest.raises(InputError, match=r"holds 4 of 100 OpenHumanVid clips .* set count=4"):
        build("OpenHumanVid", root, count=100)
    (root / "bad.csv").write_text("id,caption\n0,a person\n")
    with pytest.raises(InputError, match="no column with the names of video files.*id, caption"):
        build("OpenHumanVid", root, table="bad.csv")


def test_shhq_has_masks_of_its_own_and_one_view(build, tmp_path):
    root = tmp_path / "SHHQ-1.0"
    for name, red in (("000001", 0.3), ("000002", 0.7)):
        (root / "no_segment").mkdir(parents=True, exist_ok=True)
        (root / "segments").mkdir(exist_ok=True)
        save_png(root / "no_segment" / f"{name}.png", disc(red, height=128, width=64))
        mask = torch.zeros(1, 128, 64)
        mask[:, 8:120, 20:44] = 1
        save_png(root / "segments" / f"{name}.png", mask)
    data = build("SHHQ", root)
    check_dataset(data)
    assert sorted(data.names) == ["000001.png", "000002.png"]
    sample = data[data.usable.index("000002.png")]
    assert red_of(sample.reference) == pytest.approx(0.7, abs=0.02)
    seen = sample.reference.portrait.alpha[0] > 0.5
    assert seen.any(0).sum() / seen.any(1).sum() == pytest.approx(24 / 112, abs=0.03)
    torch.testing.assert_close(sample.reference.portrait.rgb, sample.target.portrait.rgb)
    save_png(root / "segments" / "000001.png", torch.ones(1, 64, 64))
    short = build("SHHQ", root, size=48)
    assert short.usable == ["000002.png"]


def turned_camera(degrees: float) -> Camera:
    angle = math.radians(degrees)
    eye = torch.tensor([math.sin(angle), 0.1, math.cos(angle)])
    return Camera.look_at(eye, torch.tensor([0.0, 0.1, 0.0]), 0.3, SIDE, SIDE)


TURNS = {"222200037": 0.0, "222200041": 28.0, "222200049": 75.0, "222200036": 31.0}


@pytest.fixture
def nersemble(tmp_path):
    root = tmp_path / "nersemble"
    for person in ("017", "030"):
        folder = root / person / "calibration"
        folder.mkdir(parents=True)
        rig = {name: turned_camera(turn) for name, turn in TURNS.items()}
        poses = {name: camera.cam_from_world.tolist() for name, camera in rig.items()}
        K = [[8000.0, 0, 1100], [0, 8000, 1604], [0, 0, 1]]
        (folder / "camera_params.json").write_text(
            json.dumps(dict(world_2_cam=poses, intrinsics=K))
        )
    for number, serial in enumerate(list(TURNS)[:3]):  # the last one was not downloaded
        name = f"cam_{serial}.mp4"
        film(root / "017" / "sequences" / "EXP-1-head" / "images" / name, (0.3 + 0.2 * number,) * 3)
    return root


def test_nersemble_chooses_cameras_by_the_calibration(build, nersemble):
    data = build("NeRSemble", nersemble, turn=30.0)
    assert data.names == ["017/EXP-1-head"]
    rig = data.cameras("017")
    assert angle_between(rig, "222200037", "222200049") == pytest.approx(75, abs=0.01)
    assert (rig["222200037"].width, rig["222200037"].height) == (2200, 3208)
    sample = data[0]
    assert red_of(sample.reference) == pytest.approx(0.3, abs=0.02)
    assert red_of(sample.target) == pytest.approx(0.5, abs=0.02)  # 28 degrees, not the absent 31
    assert red_of(build("NeRSemble", nersemble, turn=80.0)[0].target) == pytest.approx(
        0.7, abs=0.02
    )
    with pytest.raises(InputError, match="no NeRSemble sequences"):
        build("NeRSemble", nersemble, sequences=["HAIR"])
    (nersemble / "017" / "calibration" / "camera_params.json").write_text("{}")
    with pytest.raises(InputError, match="camera_params.json cannot be read"):
        data.cameras("017")


def test_nersemble_keeps_the_contract(build, nersemble):
    other = nersemble / "030" / "sequences" / "EXP-1-head" / "images"
    for number, serial in enumerate(list(TURNS)[:2]):
        film(other / f"cam_{serial}.mp4", (0.8 - 0.2 * number,) * 3)
    data = build("NeRSemble", nersemble, turn=30.0)
    assert len(data) == 2
    check_dataset(data)


def encoded(picture: torch.Tensor, kind: str) -> np.ndarray:
    memory = io.BytesIO()
    pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(memory, kind, **({"quality": 97} if kind == "JPEG" else {}))
    return np.frombuffer(memory.getvalue(), np.uint8)


@pytest.fixture
def renderme(tmp_path):
    h5py = pytest.importorskip("h5py", reason="RenderMe-360's files need the package h5py")
    root = tmp_path / "renderme360"
    parts = (("0026", "s1_all"), ("0026", "s2_all"), ("0041", "s1_all"), ("0041", "e0"))
    for number, (actor, part) in enumerate(parts):
        for kind in ("raw", "anno"):
            path = root / kind / actor / f"{actor}_{part}_{kind}.smc"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file.create_group("Camera").attrs["resolution"] = (SIDE, SIDE)
                for camera, turn in (("25", 0.0), ("21", 40.0)):
                    for frame in range(11):  # not in the order of their names as texts
                        red = 0.3 + 0.05 * frame
                        green = 0.2 if camera == "25" else 0.6
                        picture = disc(red, green, blue=0.3 + 0.1 * number)
                        entry = f"Camera/{camera}/{'color' if kind == 'raw' else 'mask'}/{frame}"
                        mask = (disc(1.0) > 0.1).any(0).float().expand(3, -1, -1).clone()
                        mask[:, :48] = 0
                        is_raw = kind == "raw"
                        file[entry] = encoded(
                            picture if is_raw else mask, "JPEG" if is_raw else "PNG"
                        )
                    if kind == "anno":
                        pose = torch.linalg.inv(turned_camera(turn).cam_from_world)
                        file[f"Calibration/{camera}/RT"] = pose.double().numpy()
                        file[f"Calibration/{camera}/K"] = turned_camera(turn).K.double().numpy()
                        file[f"Calibration/{camera}/D"] = np.zeros(5)
    return root


def test_renderme360_reads_talking_clips(build, renderme):
    data = build("RenderMe360", renderme)
    check_dataset(data)
    assert len(data.names) == 3 and all("_s" in name for name in data.names)
    assert {data.person(name) for name in data.names[:2]} == {"0026", "0041"}
    sample = data[0]
    assert red_of(sample.reference) == pytest.approx(0.3, abs=0.03)
    assert red_of(sample.target) == pytest.approx(0.55, abs=0.03)  # frame 5 of 0 to 10
    alpha = sample.reference.portrait.alpha[0] > 0.5  # the lower half, as the mask says
    assert alpha.any(0).sum() / alpha.any(1).sum() == pytest.approx(2, abs=0.15)
    turned = build("RenderMe360", renderme, turn=40.0, target=0.0)[0].target.portrait
    middle = turned.rgb[1, 30:34, 30:34].mean().item()
    assert middle == pytest.approx(0.6, abs=0.03)  # camera 21 sees another green
    with pytest.raises(ConfigError, match="the rig has no camera `99`"):
        build("RenderMe360", renderme, camera="99", turn=10.0)._track(data.names[0])


def test_renderme360_calibration_is_the_cameras_pose_in_the_world(renderme):
    from presence.datasets.smc import SmcFile

    with SmcFile(renderme / "anno" / "0026" / "0026_s1_all_anno.smc") as file:
        camera = file.calibration()["21"]
        expected = turned_camera(40.0)
        torch.testing.assert_close(camera.position, expected.position)
        torch.testing.assert_close(camera.K, expected.K)
        assert (camera.width, camera.height) == (SIDE, SIDE)
        with pytest.raises(InputError, match="has no entry Camera/25/color/0"):
            file.color("25", 0)


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    from presence.datasets.smc import SmcFile

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(AssetError, match="pip install h5py"):
        SmcFile(tmp_path / "a.smc")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("OpenHumanVid", "fudan-generative-vision"),
        ("RenderMe360", "opendatalab.com"),
        ("SHHQ", "StyleGAN-Human"),
        ("NeRSemble", "nersemble-data"),
    ],
)
def test_a_missing_data_set_says_where_to_get_it(build, tmp_path, monkeypatch, name, where):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    with pytest.raises(AssetError) as error:
        build(name)
    assert where in str(error.value) and str(tmp_path / "datasets") in str(error.value)
    with pytest.raises(InputError, match=f"does not exist.*{where}"):
        build(name, tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no "):
        build(name, tmp_path / "empty")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_configs_build_their_data_sets(path, tmp_path, monkeypatch):
    """Every key fits its data set, and can be changed on the command line."""
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path / "home"))
    (tmp_path / "still").mkdir()
    save_png(tmp_path / "still" / "a.png", disc(0.5))
    options = load_config(path).data.test
    missing = "needs root" if options.type == "ClipFolder" else "is missing"
    with pytest.raises((AssetError, InputError), match=missing):
        DATASETS.build(options)
    root = f"data.test.root={tmp_path / 'still'}"
    changed = load_config(path, [root, "data.test.count=null"]).data.test
    if options.type == "ClipFolder":
        assert DATASETS.build(changed).names == ["a.png"]
    else:
        with pytest.raises(InputError, match="still holds no "):
            DATASETS.build(changed)


def test_frames_of_a_video_are_found_by_number(tmp_path):
    film(tmp_path / "a.mp4", (0.2, 0.4, 0.6, 0.8))
    assert count_frames(tmp_path / "a.mp4") == 4
    last, second = read_frames(tmp_path / "a.mp4", [3, 1])
    assert last[48, 48, 0] / 255 == pytest.approx(0.8, abs=0.02)
    assert second[48, 48, 0] / 255 == pytest.approx(0.4, abs=0.02)
    with pytest.raises(InputError, match="has 4 frames, not 6"):
        read_frames(tmp_path / "a.mp4", [5])
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="not a video"):
        count_frames(tmp_path / "b.mp4")
