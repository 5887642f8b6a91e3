"""Evaluation on SHHQ: full-body photographs with masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from presence.datasets.multiview import PICTURES, masked_portrait
from presence.datasets.tracked import PicturePair, TrackedPairs
from presence.io.images import load_portrait
from presence.registry import DATASETS


@DATASETS.register()
class SHHQ(TrackedPairs):
    """Pictures of SHHQ-1.0 (Fu et al., 2022); by default the size of the paper's split, 100.

    `no_segment/` holds the photographs (1024 x 512), `segments/` the masks under the same names.
    There is one picture a person: only the `input` columns mean something. Which 100 the paper
    used is not published: this list is our own, and reproducible.

    Args:
        root: the folder; None for `shhq` in configs/assets.yaml.
        count: pictures of the split; None for all.
        seed: of the choice.
        size: side of the square pictures, px.
        tracker: config of the tracker.
        cache: folder for tracked pictures, see `TrackedPairs`.
        body: the model's body.
    """

    asset = "shhq"

    def __init__(
        self,
        root: str | None = None,
        *,
        count: int | None = 100,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(
            root, count=count, seed=seed, size=size, tracker=tracker, cache=cache, body=body
        )

    def what(self) -> str:
        """Returns "pictures"."""
        return "SHHQ pictures (no_segment/, with masks in segments/)"

    def find(self) -> list[str]:
        """Returns the file names of the pictures."""
        folder = self.root / "no_segment"
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path.name for path in files if path.suffix.lower() in PICTURES]

    def pictures(self, name: str) -> PicturePair:
        """Reads a picture and its mask; without a mask, the tracker's is taken."""
        picture = self.root / "no_segment" / name
        masks = [
            path
            for path in (self.root / "segments").glob(f"{picture.stem}.*")
            if path.suffix.lower() in PICTURES
        ]
        portrait = masked_portrait(picture, masks[0]) if masks else load_portrait(picture)
        return PicturePair(portrait, None)
