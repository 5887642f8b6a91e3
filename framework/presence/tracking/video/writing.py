"""The tracking file of a whole video, from the parts that its chunks left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from presence.errors import InputError
from presence.structures import BodyParams, Camera
from presence.tracking.refinement.posing import FLIP
from presence.tracking.sapiens_points import WHOSE
from presence.tracking.video.frames import FrameSource
from presence.tracking.video.looks import PART_NAMES
from presence.tracking.video.one_euro import OneEuroFilter
from presence.tracking.video.parts import Part, PartStore, join_parts
from presence.tracking.video.reasons import summarize
from presence.tracking.video.shape import VideoShape


@dataclasses.dataclass(frozen=True)
class VideoResult:
    """What was written.

    Attributes:
        frames: number of frames.
        tracked: number of those in which the person was found.
        fps: frames a second of the video.
        notes: one line a decision.
    """

    frames: int
    tracked: int
    fps: float
    notes: tuple[str, ...] = ()


def write_video_tracking(
    out: str | Path,
    store: PartStore,
    source: FrameSource,
    camera: Camera,
    shape: VideoShape,
    *,
    body_name: str,
    notes: tuple[str, ...] = (),
    one_euro: bool = False,
) -> VideoResult:
    """Joins the parts into one file, holding one of them at a time, and removes them.

    Args:
        out: tracking file (.npz).
        store: the parts.
        source: the frames.
        camera: the still one, in the fit's axes.
        shape: of the whole video.
        body_name: of the body that was fitted.
        notes: one line a decision.
        one_euro: filter everything that moves.

    Raises:
        InputError: nobody was found in any frame.
    """
    frames = tracked = joined = 0
    first: Tensor | None = None
    for part in store.parts():
        frames += len(part.tracked)
        tracked += int(part.tracked.sum())
        joined += int(part.joined.sum())
        if first is None:
            first = part.params.translation[0]
    if not tracked or first is None:
        store.remove()
        raise InputError(f"nobody was found in any frame of {source.path}")
    if tracked < frames:
        notes = (f"nobody was found in {frames - tracked} of {frames} frames", *notes)
    if joined:
        notes = (*notes, f"{WHOSE}sapiens_pose is sure of some in {joined} of {frames} frames")
    notes = (*notes, *summarize(reason for part in store.parts() for reason in part.reasons))
    placed = _from_first(camera, first)
    constants = {
        **shape.arrays(),
        "K": placed.K.numpy(),
        "cam_from_world": placed.cam_from_world.numpy(),
        "image_size": np.array([placed.height, placed.width], np.int64),
        "fps": np.array(source.fps, np.float64),
        "visibility_names": np.array(PART_NAMES, dtype=np.str_),
        "notes": np.array(notes, dtype=np.str_),
        "body_name": np.array(body_name, dtype=np.str_),
    }

    def parts() -> Iterator[Part]:
        smooth = _Smoother(source.fps) if one_euro else None
        for part in store.parts():
            params = part.params.replace(translation=part.params.translation - first)
            yield dataclasses.replace(part, params=smooth(params) if smooth else params)

    join_parts(out, parts, frames, constants)
    store.remove()
    return VideoResult(frames, tracked, source.fps, notes)


def _from_first(camera: Camera, first: Tensor) -> Camera:
    """The same camera in a world whose origin is where the person is at first [3]."""
    pose = torch.diag(torch.tensor([*FLIP, 1.0]))
    pose[:3, 3] = torch.tensor(FLIP) * first
    return camera.replace(cam_from_world=pose)


class _Smoother:
    """One-euro filters on everything that moves, across parts."""

    def __init__(self, fps: float) -> None:
        self.pose = OneEuroFilter(fps, rotations=True)
        self.place = OneEuroFilter(fps)
        self.face = OneEuroFilter(fps)

    def __call__(self, params: BodyParams) -> BodyParams:
        rows = range(params.batch_shape[0])
        return params.replace(
            pose=torch.stack([self.pose(params.pose[i]) for i in rows]),
            translation=torch.stack([self.place(params.translation[i]) for i in rows]),
            expression=torch.stack([self.face(params.expression[i]) for i in rows]),
        )
