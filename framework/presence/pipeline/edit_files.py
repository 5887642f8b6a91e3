"""Edits from files to files: what tools/edit.py does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from presence.errors import InputError
from presence.io.atomic import atomic_folder
from presence.io.avatar import load_avatar, save_avatar
from presence.io.images import has_cutout, load_portrait, save_png
from presence.pipeline.editing import colour_map, edit_from_map, edit_from_portrait
from presence.pipeline.player import AvatarPlayer, load_body_for
from presence.structures import Avatar, Portrait

FILES = ("avatar.safetensors", "portrait.png", "mask.png", "comparison.png")
"""What an edit writes; portrait and mask (where known) allow the next edit."""


def export_map(avatar_path: str | Path, out: str | Path) -> int:
    """Writes an avatar's colour map as a picture to paint on, and returns its side, px."""
    avatar, _ = load_avatar(avatar_path)
    picture = colour_map(avatar)
    save_png(out, picture)
    return int(picture.shape[-1])


def apply_map(
    avatar_path: str | Path, painted: str | Path, out: str | Path, *, body: str | None = None
) -> tuple[int, int]:
    """Writes the avatar with the colours of a painted map.

    Args:
        avatar_path: what `reconstruct` wrote.
        painted: an edit of what `export_map` wrote.
        out: folder for `FILES`.
        body: the body model's file, where it does not come with the project.

    Returns:
        Gaussians changed, and all.

    Raises:
        InputError: the files do not fit, or nothing was changed.
    """
    avatar, header = load_avatar(avatar_path)
    # Transparent pixels would be mixed with grey: texels count only inside the charts anyway.
    edited, region = edit_from_map(avatar, load_portrait(painted).rgb)
    model = load_body_for(str(header["body"]), body, torch.device("cpu"))
    before = _portrait_beside(avatar_path, required=False)
    _write(out, avatar, edited, model, header, before, f"colour map {Path(painted).name}")
    return int(region.sum()), len(region)


def apply_portrait(
    avatar_path: str | Path,
    edited_picture: str | Path,
    out: str | Path,
    model: Any,
    *,
    mask: str | Path | None = None,
    parts: Sequence[str] | None = None,
) -> tuple[int, int]:
    """Writes the avatar with an edit of its portrait carried over.

    Args:
        avatar_path: what `reconstruct` wrote; `portrait.png` and `mask.png` lie beside it.
        edited_picture: an edit of `portrait.png`.
        out: folder for `FILES`.
        model: the `AvatarModel` that made the avatar.
        mask: the person's mask in the edited picture; by default its transparency, or else the
            portrait's mask.
        parts: parts of the body that may change; None takes what shows in the changed pixels.

    Returns:
        Gaussians changed, and all.

    Raises:
        InputError: the files do not fit, or nothing was changed.
    """
    device = next(model.parameters()).device
    avatar, header = load_avatar(avatar_path, device)
    if header["body"] != model.body.name:
        raise InputError(
            f"the avatar was made with body `{header['body']}`, the model has `{model.body.name}`"
        )
    before = _portrait_beside(avatar_path)
    assert before is not None
    after = load_portrait(edited_picture)
    if mask is not None:
        after = after.replace(alpha=_same_size(mask, after))
    elif not has_cutout(after) and after.size == before.size:
        after = after.replace(alpha=before.alpha)
    chosen = None if parts is None else list(parts)
    edited, region = edit_from_portrait(model, avatar, before, after, parts=chosen)
    made = f"portrait {Path(edited_picture).name}"
    _write(out, avatar, edited, model.body, header, after, made)
    return int(region.sum()), len(region)


def _same_size(mask: str | Path, picture: Portrait) -> torch.Tensor:
    alpha = load_portrait(mask).rgb.mean(0, keepdim=True)
    if alpha.shape[-2:] != picture.size:
        raise InputError(
            f"{mask} has {alpha.shape[-1]} x {alpha.shape[-2]} pixels, "
            f"the edited picture {picture.size[1]} x {picture.size[0]}"
        )
    return alpha


def _portrait_beside(avatar_path: str | Path, *, required: bool = True) -> Portrait | None:
    folder = Path(avatar_path).parent
    files = [folder / "portrait.png", folder / "mask.png"]
    missing = [file for file in files if not file.is_file()]
    if missing and not required:
        return None
    if missing:
        raise InputError(f"{missing[0]} does not exist: it should lie beside the avatar")
    portrait = load_portrait(files[0])
    return portrait.replace(alpha=_same_size(files[1], portrait))


def _write(
    out: str | Path,
    before: Avatar,
    after: Avatar,
    body: Any,
    header: dict[str, Any],
    portrait: Portrait | None,
    made: str,
) -> None:
    """Writes `FILES`: the comparison shows the avatar before and after, in its portrait's view."""
    white = torch.ones(3, device=after.device)
    drawn = [
        AvatarPlayer(avatar, body).draw(avatar.body, avatar.camera, white).rgb
        for avatar in (before, after)
    ]
    edits = [*header.get("edits", []), made]
    with atomic_folder(out) as folder:
        save_avatar(after, folder / "avatar.safetensors", {**header, "edits": edits})
        save_png(folder / "comparison.png", torch.cat(drawn, -1))
        if portrait is not None:
            save_png(folder / "portrait.png", portrait.rgb)
            save_png(folder / "mask.png", portrait.alpha)
