"""Evaluation on NeRSemble: heads under sixteen calibrated video cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from presence.datasets.clips import check_moments, portrait_of
from presence.datasets.rigs import camera_at
from presence.datasets.tracked import PicturePair, TrackedPairs
from presence.errors import InputError
from presence.io.video import count_frames, read_frames
from presence.registry import DATASETS
from presence.structures import Camera

WIDTH, HEIGHT = 2200, 3208  # px of the pictures that the calibration is of
FRONT = "222200037"


@DATASETS.register()
class NeRSemble(TrackedPairs):
    """Sequences of NeRSemble (Kirschstein et al., 2023), version 2, in its own layout.

    ```
    <participant>/calibration/camera_params.json   world_2_cam by serial [4 4], intrinsics [3 3]
    <participant>/sequences/<sequence>/images/cam_<serial>.mp4
    ```

    The avatar is made from the front camera and drawn as a second one, turned by `turn` degrees
    by the calibration, sees the same moment. The data have no body parameters: both pictures are
    tracked, and the calibration decides which cameras they come from.

    Args:
        root: the folder; None for `nersemble` in configs/assets.yaml.
        sequences: names of sequences to choose from; None takes all of them.
        camera: serial of the reference's camera.
        turn: degrees from it to the target's camera; 0 stays with the same one.
        reference: moment of the avatar's picture, as a share of the sequence.
        target: moment to be matched.
        count: sequences of the split; None for all.
        seed: of the choice.
        size: side of the square pictures, px.
        tracker: config of the tracker.
        cache: folder for tracked pictures, see `TrackedPairs`.
        body: the model's body.
    """

    asset = "nersemble"

    def __init__(
        self,
        root: str | None = None,
        *,
        sequences: Sequence[str] | None = None,
        camera: str = FRONT,
        turn: float = 30.0,
        reference: float = 0.0,
        target: float = 0.0,
        count: int | None = None,
        seed: int = 0,
        size: int = 512,
        tracker: Mapping[str, Any] | None = None,
        cache: str | None = None,
        body: Any = None,
    ) -> None:
        check_moments(reference, target)
        self.sequences, self.camera, self.turn = sequences, camera, turn
        self.moments = reference, target
        super().__init__(
            root, count=count, seed=seed, size=size, tracker=tracker, cache=cache, body=body
        )

    def what(self) -> str:
        """Returns "sequences"."""
        return "NeRSemble sequences (<participant>/sequences/<sequence>/images/cam_*.mp4)"

    def find(self) -> list[str]:
        """Returns `participant/sequence` wherever the reference's camera has a video."""
        videos = sorted(self.root.glob(f"*/sequences/*/images/cam_{self.camera}.mp4"))
        found = [(path.parts[-5], path.parts[-3]) for path in videos]
        return [
            f"{participant}/{sequence}"
            for participant, sequence in found
            if self.sequences is None or sequence in self.sequences
        ]

    def person(self, name: str) -> str:
        """Returns the participant."""
        return name.split("/")[0]

    def choices(self) -> dict[str, Any]:
        """Returns cameras and moments."""
        return dict(camera=self.camera, turn=self.turn, moments=self.moments)

    def cameras(self, participant: str) -> dict[str, Camera]:
        """Reads the calibration of a participant, serial to camera, in the rig's own metres.

        Raises:
            InputError: there is none, or it is not one.
        """
        path = self.root / participant / "calibration" / "camera_params.json"
        try:
            content = json.loads(path.read_text())
            K = torch.tensor(content["intrinsics"], dtype=torch.float32).reshape(3, 3)
            poses = {
                serial: torch.tensor(pose, dtype=torch.float32).reshape(4, 4)
                for serial, pose in content["world_2_cam"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"calibration {path} cannot be read: {error}") from error
        return {serial: Camera(K, pose, WIDTH, HEIGHT) for serial, pose in poses.items()}

    def pictures(self, name: str) -> PicturePair:
        """Reads both moments of the two cameras; cameras without a video are not chosen."""
        participant, sequence = name.split("/")
        folder = self.root / participant / "sequences" / sequence / "images"
        rig = {
            serial: camera
            for serial, camera in self.cameras(participant).items()
            if _video(folder, serial).is_file()
        }
        second = camera_at(rig, self.camera, self.turn)
        if second == self.camera and self.moments[0] == self.moments[1]:
            raise InputError(f"{folder} has no camera turned by about {self.turn:g} degrees")
        pixels = [
            _frame(_video(folder, serial), moment)
            for serial, moment in zip((self.camera, second), self.moments)
        ]
        return PicturePair(*(portrait_of(frame) for frame in pixels))


def _video(folder: Path, serial: str) -> Path:
    return folder / f"cam_{serial}.mp4"


def _frame(video: Path, moment: float) -> Any:
    return read_frames(video, [round(moment * (count_frames(video) - 1))])[0]
