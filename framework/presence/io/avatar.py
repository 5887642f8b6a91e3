"""An avatar in one safetensors file: its tensors, and a JSON header that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from presence import __version__
from presence.errors import InputError
from presence.io.atomic import write_bytes
from presence.structures import Avatar, BodyParams, Camera, Gaussians, SurfaceBinding

FORMAT = "presence-avatar"
FORMAT_VERSION = 2
"""The newest that is read. Files are of version 1 unless they have offsets, which are of 2: a
program that does not know them would draw another head, and refuses the file."""
_SHAPES = {  # name in the file to its axes; N Gaussians, S betas, E expressions, V vertices
    "canonical.means": "N 3",
    "canonical.quaternions": "N 4",
    "canonical.scales": "N 3",
    "canonical.opacities": "N",
    "canonical.colors": "N 3",
    "binding.vertex_ids": "N 3",
    "binding.barycentrics": "N 3",
    "binding.uv": "N 2",
    "body.betas": "S",
    "body.expression": "E",
    "body.pose": "55 3",
    "body.translation": "3",
    "camera.K": "3 3",
    "camera.cam_from_world": "4 4",
}
NAMES = tuple(_SHAPES)
"""The tensors of the file, by dotted field name of `Avatar`."""
KEEP, OFFSETS = "keep_orientation", "body.offsets"
"""Further tensors, [N] and [V 3], present only in avatars that have them."""
_OPTIONAL = {KEEP: "N", OFFSETS: "V 3"}


def save_avatar(avatar: Avatar, path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Writes one avatar (no batch axis) atomically, in float32, without loss.

    Args:
        avatar: the person.
        path: usually `avatar.safetensors`.
        metadata: JSON values for the header; `body` (the body model's name) is needed to animate
            the avatar, the rest (licence notes, what made it) is for people.

    Raises:
        ValueError: the avatar has a batch axis, or `metadata` lacks `body`.
    """
    if avatar.batch_shape:
        raise ValueError(f"an avatar file holds one person, got batch axes {avatar.batch_shape}")
    if "body" not in metadata:
        raise ValueError("an avatar's metadata should name its `body`")
    header = {
        **metadata,
        "format": FORMAT,
        "format_version": 1 if avatar.body.offsets is None else FORMAT_VERSION,
        "presence_version": __version__,
        "picture": [avatar.camera.width, avatar.camera.height],
        "rotate_with_skin": avatar.rotate_with_skin,
    }
    tensors = {name: _to_disk(_field(avatar, name)) for name in NAMES}
    if avatar.keep_orientation is not None:
        tensors[KEEP] = _to_disk(avatar.keep_orientation)
    if avatar.body.offsets is not None:
        tensors[OFFSETS] = _to_disk(avatar.body.offsets)
    # Through memory, because safetensors' own writer hides the operating system's error codes.
    write_bytes(path, safetensors.torch.save(tensors, {"presence": json.dumps(header)}))


def load_avatar(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Avatar, dict[str, Any]]:
    """Reads an avatar and its header.

    Args:
        path: a file that `save_avatar` wrote; no code is ever loaded from it.
        device: where the tensors go.

    Returns:
        The avatar, and the header as `save_avatar` got it plus `format_version`.

    Raises:
        InputError: missing, truncated, not an avatar, from a newer version, or with tensors that
            do not fit together; the message is one line and names the file.
    """
    path = Path(path)
    tensors, text = _read(path)
    header = _check_header(path, text)
    _check_tensors(path, tensors)
    width, height = header["picture"]
    avatar = Avatar(
        canonical=Gaussians(**_group(tensors, "canonical")),
        body=BodyParams(**_group(tensors, "body")),
        camera=Camera(**_group(tensors, "camera"), width=int(width), height=int(height)),
        binding=SurfaceBinding(**_group(tensors, "binding")),
        rotate_with_skin=bool(header["rotate_with_skin"]),
        keep_orientation=tensors[KEEP].bool() if KEEP in tensors else None,
    )
    return avatar.to(device), header


def _field(avatar: Avatar, dotted: str) -> Tensor:
    group, name = dotted.split(".")
    return getattr(getattr(avatar, group), name)


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    prefix = f"{group}."
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _to_disk(value: Tensor) -> Tensor:
    kind = torch.float32 if value.is_floating_point() else torch.int32
    return value.detach().to("cpu", kind).contiguous()


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    if not path.is_file():
        raise InputError(f"avatar {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            text = (file.metadata() or {}).get("presence", "")
            known = (*NAMES, *_OPTIONAL)
            tensors = {name: file.get_tensor(name) for name in known if name in names}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged, incomplete or not an avatar file") from error
    return tensors, text


def _check_header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text) if text else {}
    except json.JSONDecodeError:
        header = {}
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path} is not an avatar file (it has no {FORMAT} header)")
    version = header.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, newer than this program's ({FORMAT_VERSION})"
        )
    for key in ("body", "picture", "rotate_with_skin"):
        if key not in header:
            raise InputError(f"{path} is not a complete avatar file: its header lacks `{key}`")
    return header


def _check_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    sizes: dict[str, int] = {}
    there = {name: axes for name, axes in _OPTIONAL.items() if name in tensors}
    for name, axes in {**_SHAPES, **there}.items():
        if name not in tensors:
            raise InputError(f"{path} is not a complete avatar file: it lacks {name}")
        shape, wanted = tuple(tensors[name].shape), axes.split()
        fits = len(shape) == len(wanted) and all(
            size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
            for axis, size in zip(wanted, shape)
        )
        if not fits:
            expected = f"[{axes}] with {sizes}"
            raise InputError(f"{path}: {name} should be {expected}, but has shape {shape}")
        if tensors[name].is_floating_point() and not bool(tensors[name].isfinite().all()):
            raise InputError(f"{path}: {name} holds values that are not finite")
    tensors["binding.vertex_ids"] = tensors["binding.vertex_ids"].long()
