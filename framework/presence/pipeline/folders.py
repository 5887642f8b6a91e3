"""Pictures to folders: each one an avatar of its own, or all of them blended into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from presence.errors import ConfigError, PresenceError
from presence.io.images import load_portrait
from presence.pipeline.reconstruction import Reconstructor


def check_pictures(images: Sequence[str | Path], *, blend: bool = False) -> None:
    """Refuses what can be refused before a model is loaded.

    With several pictures that are not to be blended, one that cannot be read does not stop the
    others, and is left to `reconstruct`.

    Args:
        images: the pictures.
        blend: whether they are to be blended.

    Raises:
        InputError: the only picture cannot be used.
        ConfigError: a single picture is to be blended.
    """
    if len(images) == 1:
        load_portrait(images[0], max_side=256)
    if blend and len(images) < 2:
        raise ConfigError(
            f"--blend joins several pictures of one person, but there is only {images[0]}: "
            "add pictures, or leave --blend out"
        )


def reconstruct(
    images: Sequence[str | Path],
    out: str | Path,
    reconstructor: Reconstructor,
    *,
    blend: bool = False,
) -> tuple[dict[Path, dict[str, Any]], dict[Path, PresenceError]]:
    """Reconstructs pictures, each into a folder of its own.

    One picture is written to `out` itself, several to `out/<name of the picture>`. With several,
    one that cannot be used does not stop the others.

    Args:
        images: the pictures.
        out: folder.
        reconstructor: does the work.
        blend: the pictures show one person: one avatar from all of them, written to `out`.

    Returns:
        (folder to report, picture to what was wrong with it).

    Raises:
        PresenceError: the only picture, or one of those to be blended, cannot be used.
    """
    check_pictures(images, blend=blend)
    if blend:
        return {Path(out): reconstructor.blend(images, out)}, {}
    reports_by_folder: dict[Path, dict[str, Any]] = {}
    problems: dict[Path, PresenceError] = {}
    for image, folder in zip(images, output_folders(images, out)):
        try:
            reports_by_folder[folder] = reconstructor(image, folder)
        except PresenceError as error:
            if len(images) == 1:
                raise
            problems[Path(image)] = error
    return reports_by_folder, problems


def output_folders(images: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Returns the folder of each picture; equal names get a number.

    Example:
        >>> [f.name for f in output_folders(["a/me.jpg", "b/me.png", "you.png"], "out")]
        ['me', 'me-2', 'you']
    """
    if len(images) == 1:
        return [Path(out)]
    folders: list[Path] = []
    for image in images:
        stem, number = Path(image).stem, 1
        folder = Path(out) / stem
        while folder in folders:
            number += 1
            folder = Path(out) / f"{stem}-{number}"
        folders.append(folder)
    return folders
