"""Edits: what was painted arrives, and every Gaussian outside of it keeps its bits."""

import pytest
import torch
from known_person import KnownTracker

from presence.errors import InputError
from presence.io.avatar import load_avatar, save_avatar
from presence.io.images import load_portrait, save_png
from presence.pipeline import AvatarPlayer, Reconstructor
from presence.pipeline.edit_files import FILES, apply_map, apply_portrait, export_map
from presence.pipeline.editing import (
    changed_pixels,
    colour_map,
    edit_from_map,
    merge_avatars,
    region_of_parts,
)

NAMES = ("means", "quaternions", "scales", "opacities", "colors")


@pytest.fixture(scope="module")
def folder(model, scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("edited")
    save_png(out / "me.png", scene.portrait.rgb)
    run = Reconstructor(model, KnownTracker(scene), size=128, turntable=2, progress=False)
    run(out / "me.png", out / "me")
    return out


@pytest.fixture(scope="module")
def green(folder, model):
    """The avatar after a green spot was painted on the portrait's chest."""
    painted = load_portrait(folder / "me" / "portrait.png").rgb
    painted[:, 60:76, 56:76] = torch.tensor([0.05, 0.9, 0.05])[:, None, None]
    save_png(folder / "green.png", painted)
    avatar = folder / "me" / "avatar.safetensors"
    apply_portrait(avatar, folder / "green.png", folder / "green", model)
    return folder / "green"


def differing(first, second):
    """[N] Gaussians of which any bit differs."""
    found = torch.zeros(len(first.canonical.opacities), dtype=torch.bool)
    for name in NAMES:
        a, b = getattr(first.canonical, name), getattr(second.canonical, name)
        found |= (a != b).reshape(len(a), -1).any(-1)
    return found


def test_a_painted_spot_of_the_portrait_changes_that_spot_alone(folder, green, body):
    avatar, _ = load_avatar(folder / "me" / "avatar.safetensors")
    edited, header = load_avatar(green / "avatar.safetensors")
    assert header["edits"] == ["portrait green.png"]
    touched = differing(avatar, edited)
    points = avatar.pose(body(avatar.body)).means
    px = avatar.camera.project(points)[0]
    near = ((px > torch.tensor([50.0, 54.0])) & (px < torch.tensor([82.0, 82.0]))).all(-1)
    assert touched.sum() > 50 and not touched[~near].any()
    behind = near & (points[:, 2] < body(avatar.body).joints[0, 2] - 0.05)
    assert behind.sum() > 20 and not touched[behind].any()  # the back keeps its colour
    white = torch.ones(3)
    drawn = [
        AvatarPlayer(each, body).draw(each.body, each.camera, white).rgb
        for each in (avatar, edited)
    ]
    middle = drawn[1][:, 64:72, 60:72].mean((1, 2))
    assert middle[1] > 0.7 and middle[0] < 0.3
    difference = (drawn[0] - drawn[1]).abs().amax(0)
    difference[50:86, 46:86] = 0
    assert difference.max() == 0  # not one pixel elsewhere


def test_the_next_edit_starts_from_the_last(folder, green, model):
    assert sorted(p.name for p in green.iterdir()) == sorted(FILES)
    picture = load_portrait(green / "portrait.png").rgb
    picture[:, 30:36, 60:70] = 0
    save_png(folder / "more.png", picture)
    before, _ = load_avatar(green / "avatar.safetensors")
    apply_portrait(green / "avatar.safetensors", folder / "more.png", folder / "more", model)
    after, header = load_avatar(folder / "more" / "avatar.safetensors")
    assert len(header["edits"]) == 2
    assert 0 < differing(before, after).sum() < 0.1 * len(differing(before, after))


def test_named_parts_change_and_nothing_else(folder, model, body):
    avatar, _ = load_avatar(folder / "me" / "avatar.safetensors")
    negative = 1 - load_portrait(folder / "me" / "portrait.png").rgb
    save_png(folder / "negative.png", negative)
    apply_portrait(
        folder / "me" / "avatar.safetensors", folder / "negative.png", folder / "head", model,
        parts=["head"],
    )  # fmt: skip
    edited, _ = load_avatar(folder / "head" / "avatar.safetensors")
    touched, head = differing(avatar, edited), torch.zeros(body.num_vertices)
    head[body.vertex_parts["head"]] = 1
    corners = head[avatar.binding.vertex_ids].sum(-1)
    assert not touched[corners == 0].any() and touched[corners == 3].float().mean() > 0.3
    with pytest.raises(InputError, match="no part `haed`. Did you mean `head`"):
        region_of_parts(avatar, body, ["haed"])


def test_a_painted_map_changes_the_painted_texels_alone(folder, tmp_path):
    path = folder / "me" / "avatar.safetensors"
    avatar, _ = load_avatar(path)
    assert export_map(path, tmp_path / "map.png") == 128
    painted = load_portrait(tmp_path / "map.png").rgb
    painted[:, 20:60, 30:90] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    save_png(tmp_path / "painted.png", painted)
    changed, count = apply_map(path, tmp_path / "painted.png", tmp_path / "red")
    edited, _ = load_avatar(tmp_path / "red" / "avatar.safetensors")
    touched = differing(avatar, edited)
    uv = avatar.binding.uv * 128
    inside = (uv[:, 0] > 30) & (uv[:, 0] < 90) & (128 - uv[:, 1] > 20) & (128 - uv[:, 1] < 60)
    assert touched.sum() == changed > 100 and count == len(touched)
    assert torch.equal(touched, inside)
    assert (edited.canonical.colors[touched] == torch.tensor([1.0, 0.0, 0.0])).all()
    for name in NAMES[:-1]:
        assert torch.equal(getattr(avatar.canonical, name), getattr(edited.canonical, name))


def test_the_map_is_the_surface_maps(folder, model):
    avatar, _ = load_avatar(folder / "me" / "avatar.safetensors")
    expected = model.projector.surface.to_map(avatar.canonical.colors)
    assert torch.equal(colour_map(avatar)[:3], expected)


def test_nothing_to_do_is_an_error(folder, model, tmp_path):
    path = folder / "me" / "avatar.safetensors"
    avatar, header = load_avatar(path)
    with pytest.raises(InputError, match="nothing was changed"):
        edit_from_map(avatar, colour_map(avatar))
    with pytest.raises(InputError, match="nothing was changed"):
        apply_portrait(path, folder / "me" / "portrait.png", tmp_path / "out", model)
    with pytest.raises(InputError, match="painted map has 64 x 64 pixels, the avatar's 128 x 128"):
        edit_from_map(avatar, torch.zeros(3, 64, 64))
    save_avatar(avatar, tmp_path / "avatar.safetensors", header)
    with pytest.raises(InputError, match="portrait.png does not exist"):
        apply_portrait(tmp_path / "avatar.safetensors", folder / "me.png", tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_avatars_of_different_bindings_do_not_merge(folder):
    avatar, _ = load_avatar(folder / "me" / "avatar.safetensors")
    ids = avatar.binding.vertex_ids.flip(0)
    other = avatar.replace(binding=avatar.binding.replace(vertex_ids=ids))
    with pytest.raises(InputError, match="bound to different points"):
        merge_avatars(avatar, other, torch.ones(len(ids), dtype=torch.bool))


def test_regions_grow_and_ignore_compression(scene):
    noisy = scene.portrait.replace(rgb=(scene.portrait.rgb + 0.01).clamp(0, 1))
    assert not changed_pixels(scene.portrait, noisy).any()
    rgb = scene.portrait.rgb.clone()
    rgb[:, 100, 100] = 1 - rgb[:, 100, 100].round()
    spot = changed_pixels(scene.portrait, scene.portrait.replace(rgb=rgb), grow=2)
    assert spot.sum() == 25 and spot[98:103, 98:103].all()


def test_the_tool(folder, tmp_path, tool):
    avatar = str(folder / "me" / "avatar.safetensors")

    code, out, _ = tool("edit", avatar, "--export-map", tmp_path / "map.png")
    assert code == 0 and "128 x 128" in out
    painted = load_portrait(tmp_path / "map.png").rgb
    painted[:, :40] = 0
    save_png(tmp_path / "painted.png", painted)
    edited = "--map", tmp_path / "painted.png", "--out", tmp_path / "out"
    code, out, _ = tool("edit", avatar, *edited)
    assert code == 0 and "Gaussians changed" in out
    assert (tmp_path / "out" / "comparison.png").is_file()
    code, _, err = tool("edit", avatar, "--map", tmp_path / "none.png", "--out", tmp_path / "other")
    assert code == 2 and err.startswith("error:") and "none.png does not exist" in err
