"""Pictures from any file that a user may have to `Portrait`, and tensors to PNG files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from presence.errors import InputError
from presence.io.atomic import atomic_file
from presence.structures import Portrait

MIN_SIDE = 64
"""Pictures with a shorter side than this many pixels are refused: nobody can be tracked there."""
MAX_SIDE = 2048
"""Larger pictures are scaled down while reading, so that the longer side has this many pixels."""
MAX_PIXELS = 150_000_000
"""Pictures with more pixels than this are refused before they are decoded."""

_BACKDROP = 128  # grey behind transparent pixels: neither bright nor dark halos at the edges
_UPRIGHT = {  # EXIF orientation to what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Names of picture files that `load_portrait` is given."""
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_HINTS = {
    b"ftyphei": "a HEIC picture; convert it to JPEG or PNG first",
    b"ftypmif1": "a HEIF picture; convert it to JPEG or PNG first",
    b"ftyp": "a video; give one picture, for example one of its frames",
    b"\x1aE\xdf\xa3": "a video; give one picture, for example one of its frames",
    b"%PDF": "a PDF; export the page as JPEG or PNG first",
    b"<svg": "an SVG drawing; export it as PNG first",
}


def load_portrait(path: str | Path, *, max_side: int = MAX_SIDE) -> Portrait:
    """Reads a picture as sRGB with a mask.

    JPEG, PNG, WebP, TIFF, BMP, GIF and whatever else Pillow reads; any of 1, 8 or 16 bits,
    greyscale, palette, CMYK, embedded colour profiles, and EXIF orientation. Transparency that
    cuts something out becomes the mask, over grey; otherwise the mask is 1 everywhere. Of an
    animation, the first frame is taken.

    Args:
        path: the file.
        max_side: longer side of the result at most, px; larger pictures are scaled down.

    Returns:
        Portrait with rgb [3 H W] and alpha [1 H W], float32 in 0..1, on the CPU.

    Raises:
        InputError: not a picture, empty, truncated, smaller than `MIN_SIDE` or larger than
            `MAX_PIXELS`; the message is one line and names the file.
    """
    path = Path(path)
    data = _read(path)
    image = _open(path, data)
    _check_size(path, *image.size)
    try:
        image.draft(image.mode, (max_side, max_side))  # JPEG: decode at 1/2, 1/4 or 1/8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            picture = _shrink(_to_8_bit(image), max_side)
            picture = picture if turn is None else picture.transpose(turn)
            rgb, alpha = _to_srgb(picture, image.info.get("icc_profile"))
    except MemoryError as error:
        raise InputError(f"{path} is too large for the memory of this machine") from error
    except Exception as error:  # decoders raise whatever they like on broken files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or incomplete: {reason}") from error
    if min(rgb.size) < MIN_SIDE:
        width, height = image.size
        raise InputError(f"{path} is too narrow a strip ({width} x {height} pixels)")
    return _portrait(rgb, alpha)


def has_cutout(portrait: Portrait) -> bool:
    """Says whether the mask came with the picture, rather than being 1 everywhere."""
    return bool((portrait.alpha < 1).any())


def to_uint8(picture: Tensor) -> np.ndarray:
    """Converts a picture [C H W] in 0..1 to bytes [H W C] (values outside are clamped)."""
    scaled = (picture.detach().float().clamp(0, 1) * 255).round()
    return scaled.byte().permute(1, 2, 0).contiguous().cpu().numpy()


def save_png(path: str | Path, picture: Tensor) -> None:
    """Writes a picture [3 H W], [4 H W] or a mask [1 H W], in 0..1, as an 8-bit PNG, atomically.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_png(f"{folder}/grey.png", torch.full((3, 80, 64), 0.5))
        ...     load_portrait(f"{folder}/grey.png").size
        (80, 64)
    """
    pixels = to_uint8(picture)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with atomic_file(path) as temporary:
        image.save(temporary, format="PNG")


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a picture")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"picture {path} does not exist") from error
    except OSError as error:
        raise InputError(f"picture {path} cannot be read: {error.strerror}") from error
    if not data:
        raise InputError(f"{path} is empty")
    return data


def _open(path: Path, data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path)) from error
    except Exception as error:  # a recognised header with a broken body may raise anything
        hint = next((text for mark, text in _HINTS.items() if mark in data[:64]), None)
        damaged = "damaged or incomplete" if data.startswith(_PICTURES) else None
        what = hint or damaged or "not a picture that can be read"
        raise InputError(f"{path} is {what}") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path))
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"{path} is too small: {width} x {height} pixels, expected at least {MIN_SIDE} each"
        )


def _too_large(path: Path) -> str:
    return f"{path} is too large: more than {MAX_PIXELS // 10**6} megapixels; scale it down"


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Brings 16-bit, 32-bit and float greyscale, which Pillow would clip, to 8 bits."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        scale = 255.0 if values.max() <= 1.0 else 1.0
        eight = np.clip(values * scale, 0, 255).astype(np.uint8)
    else:
        eight = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
    return Image.fromarray(eight)


def _shrink(image: Image.Image, max_side: int) -> Image.Image:
    width, height = image.size
    scale = max_side / max(width, height)
    if scale >= 1:
        return image
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, Image.Image | None]:
    """Splits a picture into sRGB and its transparency, honouring an embedded colour profile."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    profiled = _apply_profile(image, icc) if icc else None
    return profiled or image.convert("RGB"), alpha


def _apply_profile(image: Image.Image, icc: bytes) -> Image.Image | None:
    if image.mode not in ("RGB", "CMYK", "L"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None  # a broken profile is no reason to refuse the picture


def _portrait(rgb: Image.Image, alpha: Image.Image | None) -> Portrait:
    colour = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float() / 255
    mask = torch.ones(1, *colour.shape[1:])
    if alpha is not None:
        given = torch.from_numpy(np.array(alpha))[None].float() / 255
        # A mask says something only if it keeps a part and drops a part.
        if 0.005 < float((given > 0.5).float().mean()) < 0.995:
            mask = given
            colour = colour * mask + (_BACKDROP / 255) * (1 - mask)
    return Portrait(colour, mask)
