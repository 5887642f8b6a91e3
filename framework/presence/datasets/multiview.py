"""Several pictures of each person in a folder: the on-disk layout of generated multi-view data.

ROOT/<identity>/front.png         picture; the label is what stands before the first `_`
front_mask.png    the person's mask, unless the picture is transparent
front.npz         tracking of this picture, as tools/track.py writes it
side_left.png ... side_left_mask.png, side_left.npz
back.png ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from tqdm import tqdm

from presence.datasets.pairing import LABELS, label_of_yaw
from presence.errors import ConfigError, InputError
from presence.io.atomic import atomic_folder
from presence.io.images import has_cutout, load_portrait, save_png
from presence.pipeline.framing import Window, cut_window, frame_portrait
from presence.structures import Portrait, Tracking, View
from presence.tracking.files import load_tracking, save_tracking

if TYPE_CHECKING:
    from presence.synthesis import ProceduralPeople

Framing = Literal["person", "picture"]
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
TURNS = (0.0, 90.0, -90.0, 180.0)
"""Degrees between the front and each exported view: the views that the paper generates."""


@dataclasses.dataclass(frozen=True)
class ViewFile:
    """One picture of a person on disk.

    Attributes:
        picture: the file; mask and tracking lie beside it.
        label: how the person is seen, usually "front", "side" or "back".
    """

    picture: Path
    label: str

    @property
    def mask(self) -> Path:
        """Where the mask is, if the picture is not transparent."""
        return self.picture.with_name(f"{self.picture.stem}_mask.png")

    @property
    def tracking(self) -> Path:
        """Where body and camera are."""
        return self.picture.with_suffix(".npz")


@dataclasses.dataclass(frozen=True)
class IdentityFolder:
    """One person on disk.

    Attributes:
        name: of the folder, the same person's on every machine.
        views: the pictures, the most reliable first.
    """

    name: str
    views: tuple[ViewFile, ...]


def find_identities(root: str | Path) -> list[IdentityFolder]:
    """Lists the people of a folder in the order of their names, without opening pictures.

    Raises:
        InputError: no such folder, or nobody in it; the message shows what was expected.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"multi-view folder {root} does not exist")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    people = [IdentityFolder(folder.name, _views(folder)) for folder in folders]
    people = [person for person in people if person.views]
    if not people:
        raise InputError(
            f"{root} holds nobody: expected <identity>/front.png, front_mask.png and front.npz "
            "(see docs/training.md)"
        )
    return people


def _views(folder: Path) -> tuple[ViewFile, ...]:
    found = [
        ViewFile(path, path.stem.split("_")[0])
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURES and not path.stem.endswith("_mask")
    ]
    rank = {label: position for position, label in enumerate(LABELS)}
    return tuple(sorted(found, key=lambda view: rank.get(view.label, len(LABELS))))


def load_view(
    file: ViewFile, size: int, framing: Framing = "person", *, body_name: str = ""
) -> View:
    """Reads one view as the square that the model sees.

    Args:
        file: picture, with mask and tracking beside it.
        size: side of the result, px.
        framing: "person" cuts the square around the mask, as reconstruction does; "picture" keeps
            the whole picture, with empty borders where it is not square.
        body_name: the body that the tracking has to be of; empty takes any.

    Raises:
        InputError: a file is missing or does not fit; the message names it.
    """
    portrait, tracking = _masked(file), load_tracking(file.tracking, body_name=body_name)
    height, width = portrait.size
    camera = tracking.camera
    if abs(camera.width * height - camera.height * width) > max(camera.width, camera.height):
        raise InputError(
            f"{file.tracking} is of a picture of {camera.width} x {camera.height}, "
            f"but {file.picture.name} has {width} x {height} pixels"
        )
    camera = camera.resized(width, height)
    if framing == "person":
        portrait, camera, _ = frame_portrait(portrait, camera, size)
    else:
        side = max(height, width)
        window = Window((width - side) // 2, (height - side) // 2, side)
        portrait = cut_window(portrait, window, size)
        camera = camera.cropped(window.left, window.top, side, side).resized(size, size)
    return View(portrait, tracking.body, camera)


def _masked(file: ViewFile) -> Portrait:
    if file.mask.is_file():
        return masked_portrait(file.picture, file.mask)
    portrait = load_portrait(file.picture)
    if not has_cutout(portrait):
        raise InputError(f"{file.picture} has neither transparency nor a mask {file.mask.name}")
    return portrait


def masked_portrait(picture: Path, mask: Path) -> Portrait:
    """Reads a picture with a mask of its own file, white where the person is.

    Raises:
        InputError: one of them cannot be read, or their sizes differ.
    """
    portrait, alpha = load_portrait(picture), load_portrait(mask).rgb.mean(0, keepdim=True)
    if alpha.shape[-2:] != portrait.size:
        raise InputError(
            f"{mask} has {alpha.shape[-1]} x {alpha.shape[-2]} pixels, "
            f"its picture {portrait.size[1]} x {portrait.size[0]}"
        )
    return portrait.replace(alpha=alpha)


def save_view(folder: Path, name: str, view: View, *, body_name: str) -> None:
    """Writes picture, mask and tracking of one view in the layout that `load_view` reads.

    Args:
        folder: the person's.
        name: label, then anything after `_`, such as "side_left".
        view: unbatched.
        body_name: the body model that the parameters belong to.
    """
    save_png(folder / f"{name}.png", view.portrait.rgb)
    save_png(folder / f"{name}_mask.png", view.portrait.alpha)
    save_tracking(folder / f"{name}.npz", Tracking(view.body, view.camera), body_name=body_name)


def export_multiview(
    people: ProceduralPeople,
    seeds: Sequence[int],
    out: str | Path,
    *,
    size: int = 512,
    turns: Sequence[float] = TURNS,
) -> list[Path]:
    """Writes procedural people as multi-view folders, each seen at fixed turns.

    A stand-in of known truth for pictures from a generative model.

    Args:
        people: the generator.
        seeds: one a person; the folder is named by it.
        out: root folder, made if missing.
        size: side of the pictures, px.
        turns: degrees around the person, one a view.

    Returns:
        The folders, one a person.
    """
    yaw = torch.deg2rad(torch.tensor(list(turns), dtype=torch.float32))
    labels = [label_of_yaw(float(angle)) for angle in yaw]
    names = [f"{label}_{position}" for position, label in enumerate(labels)]
    with atomic_folder(out) as root:
        for seed in tqdm(list(seeds), desc="people", unit="subject"):
            recipe = people.draw([seed], len(names))
            viewpoint = recipe.viewpoint.replace(yaw=yaw[None].to(recipe.viewpoint.yaw))
            views = people.render(recipe.replace(viewpoint=viewpoint), (size, size))[0].to("cpu")
            folder = root / f"{seed:06d}"
            folder.mkdir()
            for position, name in enumerate(names):
                save_view(folder, name, views[position], body_name=people.body.name)
    return [Path(out) / f"{seed:06d}" for seed in seeds]


def export_source(source: Any, count: int, out: str | Path) -> list[Path]:
    """Writes the first people of a `ProceduralPeopleDataset` as multi-view folders.

    Raises:
        ConfigError: the data set does not make procedural people.
        InputError: fewer than one or more than all people are asked for.
    """
    if not hasattr(source, "people"):
        raise ConfigError(
            f"{type(source).__name__} makes no views of its own: "
            "multi-view folders are written from a ProceduralPeopleDataset"
        )
    if not 1 <= count <= len(source):
        raise InputError(f"--subjects should be 1 to {len(source)} for this data set, got {count}")
    seeds = range(source.first_seed, source.first_seed + count)
    return export_multiview(source.people(source.device), seeds, out, size=max(source.size))
