import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from presence.errors import InputError
from presence.io.avatar import NAMES, load_avatar, save_avatar
from presence.structures import Avatar, BodyParams, Camera, Gaussians, SurfaceBinding


def make_avatar(n: int = 7) -> Avatar:
    g = torch.Generator().manual_seed(3)

    def rand(*shape):
        return torch.rand(*shape, generator=g)

    return Avatar(
        canonical=Gaussians(rand(n, 3), rand(n, 4), rand(n, 3), rand(n), rand(n, 3)),
        body=BodyParams(rand(4), rand(5), rand(55, 3), rand(3)),
        camera=Camera(rand(3, 3), rand(4, 4), width=320, height=200),
        binding=SurfaceBinding(torch.arange(3 * n).reshape(n, 3), rand(n, 3), rand(n, 2)),
        rotate_with_skin=False,
    )


def values(avatar: Avatar) -> dict[str, torch.Tensor]:
    return {n: getattr(getattr(avatar, n.split(".")[0]), n.split(".")[1]) for n in NAMES}


def test_round_trip_is_exact(tmp_path):
    avatar, path = make_avatar(), tmp_path / "avatar.safetensors"
    save_avatar(avatar, path, {"body": "annyx", "licence": "mine — ü"})
    back, header = load_avatar(path)
    for name, value in values(avatar).items():
        assert torch.equal(values(back)[name], value), name
    assert (back.camera.width, back.camera.height) == (320, 200)
    assert back.rotate_with_skin is False and back.binding.vertex_ids.dtype == torch.int64
    assert header["body"] == "annyx" and header["licence"] == "mine — ü"
    assert header["format_version"] == 1


def test_kept_orientations_are_stored_where_an_avatar_has_them(tmp_path):
    path, keep = tmp_path / "avatar.safetensors", torch.arange(7) % 3 == 0
    save_avatar(make_avatar().replace(keep_orientation=keep), path, {"body": "annyx"})
    assert torch.equal(load_avatar(path)[0].keep_orientation, keep)
    save_avatar(make_avatar(), path, {"body": "annyx"})
    assert load_avatar(path)[0].keep_orientation is None
    save_file({**load_file(path), "keep_orientation": torch.zeros(6)}, path, _metadata(path))
    with pytest.raises(InputError, match="keep_orientation should be"):
        load_avatar(path)


def test_offsets_are_stored_where_a_person_has_them(tmp_path):
    path, plain = tmp_path / "avatar.safetensors", tmp_path / "plain.safetensors"
    offsets = torch.randn(21, 3)
    avatar = make_avatar()
    save_avatar(avatar, plain, {"body": "annyx"})
    save_avatar(avatar.replace(body=avatar.body.replace(offsets=offsets)), path, {"body": "annyx"})
    back, header = load_avatar(path)
    assert torch.equal(back.body.offsets, offsets)
    # An older program, which would leave them out, refuses the file; others are as they were.
    assert header["format_version"] == 2
    assert load_avatar(plain)[0].body.offsets is None
    assert load_avatar(plain)[1]["format_version"] == 1
    assert set(load_file(path)) - set(load_file(plain)) == {"body.offsets"}
    assert set(load_file(plain)) == set(NAMES)
    save_file({**load_file(path), "body.offsets": torch.zeros(21, 2)}, path, _metadata(path))
    with pytest.raises(InputError, match="body.offsets should be"):
        load_avatar(path)


def _metadata(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_the_file_is_plain_safetensors_with_a_json_header(tmp_path):
    """Read by hand, as the format's description says: length, JSON, raw little-endian data."""
    avatar, path = make_avatar(), tmp_path / "avatar.safetensors"
    save_avatar(avatar, path, {"body": "annyx"})
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    start, end = header["canonical.means"]["data_offsets"]
    raw = data[8 + length + start : 8 + length + end]
    means = torch.frombuffer(bytearray(raw), dtype=torch.float32).reshape(-1, 3)
    assert torch.equal(means, avatar.canonical.means)
    assert json.loads(header["__metadata__"]["presence"])["body"] == "annyx"


def rewritten(path, *, drop=(), change=None, **header):
    """Saves the avatar at `path` again with another header or other tensors."""
    tensors = load_file(path)
    for name in drop:
        del tensors[name]
    tensors.update(change or {})
    base = {
        "format": "presence-avatar",
        "format_version": 1,
        "body": "annyx",
        "picture": [320, 200],
        "rotate_with_skin": True,
    }
    text = json.dumps({k: v for k, v in {**base, **header}.items() if v is not None})
    save_file(tensors, path, {"presence": text})


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (dict(format_version=3), "format version 3"),
        (dict(format_version="x"), "format version x"),
        (dict(format="other"), "not an avatar file"),
        (dict(body=None), "lacks `body`"),
        (dict(drop=["body.pose"]), "lacks body.pose"),
        (dict(change={"canonical.scales": torch.zeros(6, 3)}), "canonical.scales should be"),
        (dict(change={"body.pose": torch.zeros(54, 3)}), "body.pose should be"),
        (dict(change={"canonical.means": torch.full((7, 3), torch.nan)}), "not finite"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, how, says):
    path = tmp_path / "avatar.safetensors"
    save_avatar(make_avatar(), path, {"body": "annyx"})
    rewritten(path, **how)
    with pytest.raises(InputError, match=says) as caught:
        load_avatar(path)
    assert "avatar.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, share):
    path = tmp_path / "avatar.safetensors"
    save_avatar(make_avatar(), path, {"body": "annyx"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="damaged, incomplete or not an avatar"):
        load_avatar(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "avatar.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        load_avatar(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not an avatar file"):
        load_avatar(path)
    torch.save({"a": 1}, path)
    with pytest.raises(InputError, match="damaged, incomplete or not an avatar"):
        load_avatar(path)


def test_a_batch_or_a_nameless_body_is_a_mistake_of_the_caller(tmp_path):
    with pytest.raises(ValueError, match="batch"):
        save_avatar(_batch_of_one(), tmp_path / "a", {"body": "annyx"})
    with pytest.raises(ValueError, match="body"):
        save_avatar(make_avatar(), tmp_path / "a", {})
    assert list(tmp_path.iterdir()) == []


def _batch_of_one() -> Avatar:
    return make_avatar().unsqueeze()
