"""Evaluation on clips: a folder of one's own, and OpenHumanVid."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presence.datasets.clips import VIDEOS, check_moments, clip_pictures, read_moments
from presence.datasets.multiview import PICTURES
from presence.datasets.tracked import PicturePair, TrackedPairs
from presence.errors import InputError
from presence.registry import DATASETS


@DATASETS.register()
class ClipFolder(TrackedPairs):
    """A folder of clips: videos, folders of pictures, or single pictures, one person each.

    The avatar is made from one moment and drawn in the pose of another. A single picture, or a
    clip of one frame, has no second moment: only its `input` columns mean something. Masks may
    lie beside pictures as `<name>_mask.png`.

    The paper's 200 synthetic clips are `ClipFolder(root, count=200)` on clips of a generator.

    Args:
        root: the folder.
        reference: moment of the avatar's picture, as a share of the clip.
        target: moment to be matched.
        count: clips of the split; None for all.
        seed: of the choice.
        size: side of the square pictures, px.
        tracker: config of the tracker.
        cache: folder for tracked pictures, see `TrackedPairs`.
        body: the model's body.
    """

    get = "clips of your own; the paper's 200, of a video generator, are not published"

    def __init__(
        self,
        root: str | None = None,
        *,
        reference: float = 0.0,
        target: float = 0.5,
        count: int | None = None,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        check_moments(reference, target)
        self.moments = reference, target
        super().__init__(
            root, count=count, seed=seed, size=size, tracker=tracker, cache=cache, body=body
        )

    def what(self) -> str:
        """Returns "clips"."""
        return "clips (videos, folders of pictures, or pictures)"

    def find(self) -> list[str]:
        """Returns the names of clips directly in the folder."""
        return [path.name for path in sorted(self.root.iterdir()) if _is_clip(path)]

    def choices(self) -> dict[str, Any]:
        """Returns the moments."""
        return dict(moments=self.moments)

    def pictures(self, name: str) -> PicturePair:
        """Reads both moments."""
        reference, *target = read_moments(self.root / name, self.moments)
        return PicturePair(reference, target[0] if target else None)


@DATASETS.register()
class OpenHumanVid(ClipFolder):
    """Clips of OpenHumanVid (Li et al., 2024); by default the size of the paper's split, 100.

    Clips are `<video>_<first frame>_<last frame>.mp4` in any folders below the root; the split
    takes each source video once before it takes one twice. Which 100 clips the paper used is not
    published: this list is our own, and reproducible.

    Args:
        root: the folder; None for `openhumanvid` in configs/assets.yaml.
        table: a CSV file, relative to the root, that names the clips to choose from in one of its
            columns; None takes all clips below the root.
        reference: moment of the avatar's picture, as a share of the clip.
        target: moment to be matched.
        count: clips of the split; None for all.
        seed: of the choice.
        size: side of the square pictures, px.
        tracker: config of the tracker.
        cache: folder for tracked pictures, see `TrackedPairs`.
        body: the model's body.
    """

    asset = "openhumanvid"

    def __init__(
        self,
        root: str | None = None,
        *,
        table: str | None = None,
        reference: float = 0.0,
        target: float = 0.5,
        count: int | None = 100,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        self.table = table
        super().__init__(
            root,
            reference=reference,
            target=target,
            count=count,
            seed=seed,
            size=size,
            tracker=tracker,
            cache=cache,
            body=body,
        )

    def what(self) -> str:
        """Returns "clips"."""
        return "OpenHumanVid clips (.mp4)"

    def find(self) -> list[str]:
        """Returns the clips' paths below the root; those of the table, where there is one."""
        found = {
            path.relative_to(self.root).as_posix(): path
            for path in sorted(self.root.rglob("*"))
            if path.suffix.lower() in VIDEOS
        }
        if self.table is None:
            return list(found)
        wanted = _names_in(self.root / self.table)
        return [name for name, path in found.items() if path.stem in wanted]

    def person(self, name: str) -> str:
        """Returns the source video of a clip: what stands before both frame numbers."""
        return re.sub(r"_\d+_\d+$", "", Path(name).stem)


def _is_clip(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return bool(clip_pictures(path))
    single = path.suffix.lower() in PICTURES and not path.stem.endswith("_mask")
    return single or path.suffix.lower() in VIDEOS


def _names_in(table: Path) -> set[str]:
    """Returns the stems that the first column with video files names."""
    try:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"table {table} cannot be read: {error}") from error
    columns = list(rows[0]) if rows else []
    for column in columns:
        values = [row[column] or "" for row in rows]
        if all(value.lower().endswith(VIDEOS) for value in values):
            return {Path(value).stem for value in values}
    raise InputError(
        f"table {table} has no column with the names of video files; it has: "
        f"{', '.join(columns) or 'nothing'}"
    )
