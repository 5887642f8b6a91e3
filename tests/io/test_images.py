import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from presence.errors import InputError
from presence.io import images
from presence.io.images import MAX_SIDE, has_cutout, load_portrait, save_png, to_uint8

RAMP = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))  # [80 96], dark to bright
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 60)], -1)


def saved(tmp_path, name: str, picture: Image.Image, **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "picture", "tolerance"),
    [
        ("grey.png", Image.fromarray(RAMP), 0),
        ("grey.jpg", Image.fromarray(RAMP), 3),
        ("sixteen.png", Image.fromarray(RAMP.astype(np.uint16) * 257), 0),
        ("sixteen.tif", Image.fromarray(RAMP.astype(np.uint16) * 257), 0),
        ("float.tif", Image.fromarray(RAMP.astype(np.float32) / 255), 1),
        ("palette.png", Image.fromarray(RAMP).convert("P"), 0),
        ("cmyk.jpg", Image.fromarray(np.stack([RAMP] * 3, -1)).convert("CMYK"), 4),
        ("rgb.webp", Image.fromarray(np.stack([RAMP] * 3, -1)), 12),
    ],
)
def test_every_pixel_format_shows_the_same_ramp(tmp_path, name, picture, tolerance):
    portrait = load_portrait(saved(tmp_path, name, picture))
    assert portrait.size == (80, 96)
    difference = np.abs(to_uint8(portrait.rgb).astype(int) - RAMP[..., None].astype(int))
    assert difference.max() <= tolerance
    assert not has_cutout(portrait)


def test_one_bit_picture_becomes_black_and_white(tmp_path):
    halves = Image.fromarray(np.where(RAMP > 127, 255, 0).astype(np.uint8)).convert("1")
    portrait = load_portrait(saved(tmp_path, "bits.png", halves))
    assert set(np.unique(to_uint8(portrait.rgb))) == {0, 255}


def test_sixteen_bit_colour(tmp_path):
    import cv2

    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), COLOUR[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(to_uint8(load_portrait(path).rgb).astype(int) - COLOUR).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_brings_the_picture_upright(tmp_path, orientation):
    """Pillow's own transposition is the reference, applied to the very same file."""
    from PIL import ImageOps

    corner = COLOUR.copy()
    corner[:30, :40] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path, "turned.png", Image.fromarray(corner), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(to_uint8(load_portrait(path).rgb), expected)
    assert (orientation < 5) == (expected.shape[:2] == (80, 96))


def test_transparency_becomes_the_mask(tmp_path):
    alpha = np.zeros_like(RAMP)
    alpha[20:60, 30:70] = 255
    path = saved(tmp_path, "cut.png", Image.fromarray(np.dstack([COLOUR, alpha])))
    portrait = load_portrait(path)
    assert has_cutout(portrait)
    assert np.array_equal(to_uint8(portrait.alpha)[..., 0], alpha)
    pixels = to_uint8(portrait.rgb)
    assert np.array_equal(pixels[20:60, 30:70], COLOUR[20:60, 30:70])
    assert (pixels[:20] == 128).all()


def test_palette_transparency_becomes_the_mask(tmp_path):
    indexed = Image.fromarray((RAMP > 127).astype(np.uint8))
    indexed = indexed.convert("P")
    portrait = load_portrait(saved(tmp_path, "cut.gif", indexed, transparency=0))
    assert has_cutout(portrait) and abs(float(portrait.alpha.mean()) - 0.5) < 0.05


@pytest.mark.parametrize("level", [0, 255])
def test_transparency_that_says_nothing_is_ignored(tmp_path, level):
    alpha = np.full_like(RAMP, level)
    path = saved(tmp_path, "flat.png", Image.fromarray(np.dstack([COLOUR, alpha])))
    portrait = load_portrait(path)
    assert not has_cutout(portrait)
    assert np.array_equal(to_uint8(portrait.rgb), COLOUR)


def test_embedded_profiles_are_applied_and_broken_ones_ignored(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = load_portrait(saved(tmp_path, "srgb.png", Image.fromarray(COLOUR), icc_profile=profile))
    assert np.abs(to_uint8(same.rgb).astype(int) - COLOUR).max() <= 2
    broken = saved(tmp_path, "broken.png", Image.fromarray(COLOUR), icc_profile=b"nonsense")
    assert np.array_equal(to_uint8(load_portrait(broken).rgb), COLOUR)


@pytest.mark.parametrize("name", ["big.jpg", "big.png"])
def test_100_megapixels_are_scaled_down(tmp_path, name):
    big = Image.new("RGB", (10_000, 10_000), (200, 100, 50))
    portrait = load_portrait(
        saved(tmp_path, name, big, **({"compress_level": 1} if "png" in name else {}))
    )
    assert portrait.size == (MAX_SIDE, MAX_SIDE)
    middle = to_uint8(portrait.rgb)[1000, 1000].astype(int)
    assert np.abs(middle - [200, 100, 50]).max() <= 2


def test_scaling_down_averages_instead_of_skipping(tmp_path):
    checks = (np.indices((4000, 3000)).sum(0) % 2 * 255).astype(np.uint8)
    portrait = load_portrait(saved(tmp_path, "checks.png", Image.fromarray(checks)), max_side=1000)
    assert portrait.size == (1000, 750)
    assert (portrait.rgb[:, 10:-10, 10:-10] - 0.5).abs().max() < 0.02


def _broken(kind: str, tmp_path):
    path = tmp_path / "me.jpg"
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "heic":
        path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    elif kind == "video":
        path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    elif kind == "pdf":
        path.write_bytes(b"%PDF-1.7" + bytes(100))
    elif kind.startswith("cut"):
        suffix = kind.split("-")[1]
        whole = saved(tmp_path, f"whole.{suffix}", Image.fromarray(COLOUR)).read_bytes()
        path.write_bytes(whole[: int(len(whole) * 0.6)])
    elif kind == "tiny":
        Image.new("RGB", (16, 16)).save(path)
    elif kind == "strip":
        Image.new("L", (9000, 64)).save(path)
    elif kind in ("huge", "bomb"):  # the size is refused before a pixel is decoded
        side = 15_000 if kind == "huge" else 30_000
        head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + data + struct.pack(">I", 0) + b"IDAT")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("text", "not a picture"),
        ("empty", "is empty"),
        ("folder", "is a folder"),
        ("heic", "HEIC"),
        ("video", "a video"),
        ("pdf", "a PDF"),
        ("cut-jpg", "damaged or incomplete"),
        ("cut-png", "damaged or incomplete"),
        ("cut-tif", "damaged or incomplete"),
        ("tiny", "too small: 16 x 16"),
        ("strip", "too narrow"),
        ("huge", "too large"),
        ("bomb", "too large"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, kind, says):
    with pytest.raises(InputError, match=says) as caught:
        load_portrait(_broken(kind, tmp_path))
    message = str(caught.value)
    assert "me.jpg" in message and "\n" not in message and len(message) < 250


def test_out_of_memory_is_the_users_to_know(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(images, "_shrink", fail)
    with pytest.raises(InputError, match="too large for the memory"):
        load_portrait(saved(tmp_path, "me.png", Image.fromarray(RAMP)))


def test_png_round_trip_and_modes(tmp_path):
    rgb = torch.from_numpy(COLOUR.copy()).permute(2, 0, 1).float() / 255
    save_png(tmp_path / "rgb.png", rgb)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "rgb.png")), COLOUR)
    save_png(tmp_path / "mask.png", rgb[:1])
    assert np.asarray(Image.open(tmp_path / "mask.png")).ndim == 2
    save_png(tmp_path / "rgba.png", torch.cat([rgb, rgb[:1]]))
    assert Image.open(tmp_path / "rgba.png").mode == "RGBA"
