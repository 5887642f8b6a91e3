"""Evaluation on RenderMe-360: talking heads under sixty calibrated cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presence.datasets.clips import check_moments, portrait_of
from presence.datasets.rigs import camera_at
from presence.datasets.smc import SmcFile
from presence.datasets.tracked import PicturePair, TrackedPairs
from presence.registry import DATASETS
from presence.structures import Portrait

FRONT = "25"


@DATASETS.register()
class RenderMe360(TrackedPairs):
    """Talking clips of RenderMe-360 (Pan et al., 2023); by default the paper's 50.

    Clips are the speech performances, `<actor>_s<number>_*_raw.smc` in any folders below the
    root; masks and calibration are in the files of the same names that end in `_anno.smc`, beside
    them or below `anno/` instead of `raw/`. The split takes every actor once before it takes one
    twice. Which 50 clips the paper used is not published: this list is our own, and reproducible.

    FLAME parameters exist for expression performances alone, so both pictures are tracked.

    Args:
        root: the folder; None for `renderme360` in configs/assets.yaml.
        camera: the reference's camera; 25 looks at the face from the front.
        turn: degrees from it to the target's camera, by the calibration; 0 stays with the same.
        reference: moment of the avatar's picture, as a share of the clip.
        target: moment to be matched.
        count: clips of the split; None for all.
        seed: of the choice.
        size: side of the square pictures, px.
        tracker: config of the tracker.
        cache: folder for tracked pictures, see `TrackedPairs`.
        body: the model's body.
    """

    asset = "renderme360"

    def __init__(
        self,
        root: str | None = None,
        *,
        count: int | None = 50,
        camera: str = FRONT,
        turn: float = 0.0,
        reference: float = 0.0,
        target: float = 0.5,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        check_moments(reference, target)
        self.camera, self.turn, self.moments = camera, turn, (reference, target)
        super().__init__(
            root, count=count, seed=seed, size=size, tracker=tracker, cache=cache, body=body
        )

    def what(self) -> str:
        """Returns "clips"."""
        return "talking clips of RenderMe-360 (<actor>_s*_raw.smc)"

    def find(self) -> list[str]:
        """Returns the paths of the speech performances below the root."""
        files = sorted(self.root.rglob("*_raw.smc"))
        speech = [path for path in files if re.match(r"[^_]+_s\d", path.name)]
        return [path.relative_to(self.root).as_posix() for path in speech]

    def person(self, name: str) -> str:
        """Returns the actor."""
        return Path(name).name.split("_")[0]

    def choices(self) -> dict[str, Any]:
        """Returns cameras and moments."""
        return dict(camera=self.camera, turn=self.turn, moments=self.moments)

    def pictures(self, name: str) -> PicturePair:
        """Reads both moments of the two cameras."""
        notes = self._annotations(name)
        with SmcFile(self.root / name) as raw:
            if notes is None:
                return self._pictures(raw, raw)
            with SmcFile(notes) as annotations:
                return self._pictures(raw, annotations)

    def _pictures(self, raw: SmcFile, notes: SmcFile) -> PicturePair:
        second = self.camera
        if self.turn:
            second = camera_at(notes.calibration(), self.camera, self.turn)

        def read(camera: str, moment: float) -> Portrait:
            frames = raw.frames(camera)
            frame = frames[round(moment * (len(frames) - 1))]
            return portrait_of(raw.color(camera, frame), notes.mask(camera, frame))

        return PicturePair(read(self.camera, self.moments[0]), read(second, self.moments[1]))

    def _annotations(self, name: str) -> Path | None:
        beside = name.removesuffix("_raw.smc") + "_anno.smc"
        apart = Path(*("anno" if part == "raw" else part for part in Path(beside).parts))
        found = (self.root / place for place in (beside, apart))
        return next((path for path in found if path.is_file()), None)
