import os

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from presence.errors import AssetError, ConfigError, InputError
from presence.io.avatar import load_avatar, save_avatar
from presence.io.motion import save_motion
from presence.motion import builtin_motion, retarget
from presence.pipeline import animate
from presence.pipeline.player import check_fit


@pytest.fixture(scope="module")
def avatar_file(model, scene, tmp_path_factory):
    from presence.pipeline.framing import frame_portrait

    framed, camera, _ = frame_portrait(scene.portrait, scene.camera, 128)
    with torch.no_grad():
        avatar = model.reconstruct(framed, scene.body, camera)
    path = tmp_path_factory.mktemp("avatar") / "avatar.safetensors"
    save_avatar(avatar, path, {"body": "annyx"})
    return path


@pytest.mark.parametrize(
    ("motion", "view", "frames"),
    [("wave", "portrait", 15), ("talk", "head", 20), ("walk", "full", 18)],
)
def test_videos_last_as_long_as_their_motion(avatar_file, tmp_path, motion, view, frames):
    out = tmp_path / "m.mp4"
    done = animate(avatar_file, motion, out, view=view, fps=5, size=96, progress=False)
    pixels, meta = iio.imread(out, plugin="FFMPEG"), iio.immeta(out, plugin="FFMPEG")
    assert pixels.shape == (frames, 96, 96, 3) and done.frames == frames
    assert abs(meta["duration"] - builtin_motion(motion, 5).duration) < 0.02
    shown = (pixels < 230).any(-1).mean((1, 2))
    assert (shown > 0.05).all()  # somebody is in every frame
    moved = np.abs(np.diff(pixels.astype(int), axis=0)).mean((1, 2, 3))
    assert moved.max() > 0.3  # and moves
    assert os.listdir(tmp_path) == ["m.mp4"]


def test_a_motion_file_drives_like_the_motion_it_was_made_from(avatar_file, tmp_path):
    save_motion(tmp_path / "mine.npz", builtin_motion("wave", 4))
    for motion, name in ((str(tmp_path / "mine.npz"), "a.mp4"), ("wave", "b.mp4")):
        animate(avatar_file, motion, tmp_path / name, fps=4, size=64, progress=False)
    a, b = (iio.imread(tmp_path / name, plugin="FFMPEG").astype(int) for name in ("a.mp4", "b.mp4"))
    assert a.shape == b.shape and np.abs(a - b).max() <= 2


def test_a_persons_offsets_are_animated(avatar_file, body, tmp_path):
    """A head that is 8 cm higher than the body's own: in the file, the poses and the video."""
    plain, header = load_avatar(avatar_file)
    offsets = torch.zeros(body.num_vertices, 3)
    offsets[body.vertex_parts["head"], 1] = 0.08
    avatar = plain.replace(body=plain.body.replace(offsets=offsets))
    path = tmp_path / "avatar.safetensors"
    save_avatar(avatar, path, header)
    avatar, _ = load_avatar(path)
    params = retarget(builtin_motion("wave", 2), avatar.body, body.expression_names)
    for mesh, bare in ((body(p), body(p.replace(offsets=None))) for p in (params[0], params[4])):
        moved = avatar.pose(mesh).means - avatar.pose(bare).means
        turned = (bare.skin_rotations @ offsets[..., None])[..., 0]
        wanted = avatar.binding.interpolate(turned)
        torch.testing.assert_close(moved, wanted, atol=1e-5, rtol=0)
        assert wanted.norm(dim=-1).max() > 0.07
    pictures = []
    for number, source in enumerate((avatar_file, path)):
        out = tmp_path / f"{number}.mp4"
        animate(source, "wave", out, fps=1, size=96, view="full", progress=False)
        pictures.append((iio.imread(out, plugin="FFMPEG") < 230).any(-1))  # [T H W] the person
    assert ((pictures[0] != pictures[1]).mean((1, 2)) > 0.01).all()
    other = offsets[:100]
    with pytest.raises(InputError, match="offsets of 100 vertices"):
        check_fit(avatar.replace(body=avatar.body.replace(offsets=other)), body)


def test_background_colour(avatar_file, tmp_path):
    out = tmp_path / "m.mp4"
    animate(avatar_file, "wave", out, fps=1, size=64, background="#2040c0", progress=False)
    corner = iio.imread(out, plugin="FFMPEG")[:, 2:5, 2:5].astype(int)
    assert np.abs(corner - [0x20, 0x40, 0xC0]).max() < 12


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (dict(motion="wav"), InputError, "Did you mean `wave`"),
        (dict(view="side"), ConfigError, "unknown view `side`"),
        (dict(out="a.gif"), InputError, "should end in"),
        (dict(fps=0.0), ConfigError, "frames a second"),
        (dict(size=4), ConfigError, "size should be"),
        (dict(background="blu"), ConfigError, "unknown colour"),
        (dict(device="tpu"), ConfigError, "unknown device"),
        (dict(device="cuda:99"), ConfigError, "not available"),
        (dict(body="nobody.npz"), AssetError, "nobody.npz"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_written(
    avatar_file, tmp_path, options, error, says
):
    given = {"motion": "wave", "out": "m.mp4", **options}
    with pytest.raises(error, match=says) as caught:
        animate(avatar_file, given.pop("motion"), tmp_path / given.pop("out"), **given)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_an_avatar_of_another_body_is_refused(avatar_file, tmp_path):
    avatar, _ = load_avatar(avatar_file)
    save_avatar(avatar, tmp_path / "a.safetensors", {"body": "SMPLX_NEUTRAL"})
    with pytest.raises(AssetError, match="give its file with --body"):
        animate(tmp_path / "a.safetensors", "wave", tmp_path / "m.mp4")
    ids = avatar.binding.vertex_ids + 10_000
    wrong = avatar.replace(binding=avatar.binding.replace(vertex_ids=ids))
    save_avatar(wrong, tmp_path / "a.safetensors", {"body": "annyx"})
    with pytest.raises(InputError, match="bound to vertices up to"):
        animate(tmp_path / "a.safetensors", "wave", tmp_path / "m.mp4")
