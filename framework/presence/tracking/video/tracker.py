"""`VideoTracker`: tracks one person through a video of any length, chunk by chunk."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import InputError
from presence.io.video import progress
from presence.structures import BodyParams, Camera, cat, focal_from_fov
from presence.tracking.consistency import consistent
from presence.tracking.detection import Detection
from presence.tracking.evidence import visible_parts
from presence.tracking.fitting import BodyFitter
from presence.tracking.refinement.evidence import gather
from presence.tracking.refinement.posing import FLIP, FrameStates, seen_by_camera
from presence.tracking.refinement.refiner import RefineOptions, Refiner
from presence.tracking.relaxed import relaxed_pose
from presence.tracking.video.chunks import Chunk, plan_chunks
from presence.tracking.video.frames import FrameSource
from presence.tracking.video.one_euro import OneEuroFilter
from presence.tracking.video.parts import Part, PartStore, join_parts
from presence.tracking.video.starts import between, keyframes

_log = logging.getLogger(__name__)
PART_NAMES = ("head", "upper", "lower", "left_hand", "right_hand")


class FrameTracker(Protocol):
    """What a tracker must have to be used on videos; `MediaPipeTracker` does."""

    body: Body
    detector: Callable[[np.ndarray], Detection]
    segmenter: Any
    fitter: BodyFitter


@dataclasses.dataclass(frozen=True)
class VideoOptions:
    """Settings of video tracking.

    Attributes:
        length: frames that count in each chunk.
        ahead: frames looked at beyond them.
        key: every so many-th frame is fitted on its own, and the others start between them.
        mask_every: every so many-th frame is segmented.
        side: px, frames that are larger are looked at in a smaller copy.
        shape_frames: frames, spread over the video, from which the shape is found.
        one_euro: filter the result; off unless asked for, the temporal term smooths already.
        refine: of the stages.
        device: where the stages run.
    """

    length: int = 48
    ahead: int = 8
    key: int = 6
    mask_every: int = 4
    side: int = 1280
    shape_frames: int = 8
    one_euro: bool = False
    refine: RefineOptions = RefineOptions(near=0.4, near_place=0.3)
    device: str = "cpu"


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


@dataclasses.dataclass(frozen=True)
class _Look:
    """What was seen in one frame; pictures are not kept."""

    detection: Detection | None
    mask: np.ndarray | None


class VideoTracker:
    """Tracks videos: shape from frames spread over it, then chunks through all three stages.

    Args:
        tracker: detector, segmenter and single-frame fit.
        options: settings.
    """

    def __init__(self, tracker: FrameTracker, options: VideoOptions | None = None) -> None:
        self.tracker, self.options = tracker, options or VideoOptions()
        fitter = tracker.fitter
        self.body, self.fov = fitter.body, fitter.options.fov
        settings, device = self.options.refine, self.options.device
        self.refiner = Refiner(self.body, fitter.landmarks, settings, device)
        # Frames of the shape's pass are far apart: nothing is smooth between them.
        still = dataclasses.replace(settings, smooth=0.0)
        self.shaper = Refiner(self.body, fitter.landmarks, still, device)

    def __call__(self, source: FrameSource, out: str | Path, *, label: str = "") -> VideoResult:
        """Tracks a video and writes its tracking file.

        Finished chunks lie in `OUT.parts` until the file is written; a second call goes on there.

        Args:
            source: the frames.
            out: tracking file (.npz).
            label: what the progress bar calls the work; no bar if empty.

        Raises:
            InputError: nobody was found in any frame.
        """
        store = PartStore(out, self._plan(source))
        betas = store.betas()
        if betas is None:
            betas = self._shape(source)
            store.set_betas(betas)
        chunks = list(plan_chunks(source.count, self.options.length, self.options.ahead))
        done = next((c.number for c in chunks if c.number not in store), len(chunks))
        if 0 < done < len(chunks):
            _log.info("going on at frame %d of %d", chunks[done].fresh, source.count)
        if done < len(chunks):
            self._chunks(source, betas, chunks[done:], store, label)
        return self._write(source, out, store, betas)

    def _plan(self, source: FrameSource) -> dict[str, Any]:
        stat = source.path.stat()
        options = dataclasses.asdict(self.options)
        about = {"source": str(source.path.resolve()), "changed": stat.st_mtime_ns}
        size = {"frames": source.count, "size": [source.height, source.width]}
        return about | size | {"fov": self.fov, "body": self.body.name, "options": options}

    def _look(self, frame: np.ndarray, masked: bool) -> _Look:
        small = _shrunk(frame, self.options.side)
        try:
            detection = consistent(self.tracker.detector(small))
        except InputError:
            return _Look(None, None)
        mask = self.tracker.segmenter.probability(small, detection) if masked else None
        return _Look(detection, mask)

    def _seen_size(self, source: FrameSource) -> tuple[int, int]:
        return _small_size(source.height, source.width, self.options.side)

    def _focal(self, source: FrameSource) -> float:
        return focal_from_fov(self.fov, max(self._seen_size(source)))

    def _shape(self, source: FrameSource) -> Tensor:
        """Finds one shape [S] from frames spread over the video."""
        count = min(self.options.shape_frames, source.count)
        wanted = {round((i + 0.5) * source.count / count - 0.5) for i in range(count)}
        looks: list[_Look] = []
        fits: list[BodyParams] = []
        for number, frame in enumerate(source.frames()):
            if number not in wanted:
                continue
            look = self._look(frame, True)
            fitted = self._fit(look, None)
            if fitted is not None:
                looks.append(look)
                fits.append(fitted)
        if not fits:
            # The frames in between may still show somebody: the mean adult does for a shape.
            _log.info("nobody was found in %d frames spread over the video", count)
            return self.body.default_params().betas
        start = FrameStates.from_params(cat([params.unsqueeze() for params in fits]))
        height, width = self._seen_size(source)
        evidence = gather([k.detection for k in looks], [k.mask for k in looks], width, height)
        return self.shaper(start, evidence, self._focal(source), betas=True).betas.cpu()

    def _fit(self, look: _Look, betas: Tensor | None) -> BodyParams | None:
        if look.detection is None:
            return None
        try:
            # Of a chunk's frames some have a mask: corrected ones would differ from the others.
            tracking = self.tracker.fitter(
                look.detection, look.mask, betas=betas, corrected=betas is None
            )
        except InputError:
            return None
        return seen_by_camera(self.body, tracking)

    def _chunks(
        self,
        source: FrameSource,
        betas: Tensor,
        chunks: Sequence[Chunk],
        store: PartStore,
        label: str,
    ) -> None:
        seen: deque[_Look] = deque()
        offset = chunks[0].first
        frames = self._looks(source, offset, label)
        for chunk in chunks:
            while offset < chunk.first:
                seen.popleft()
                offset += 1
            while offset + len(seen) < chunk.stop:
                look = next(frames, None)
                if look is None:  # shorter than the container said
                    break
                seen.append(look)
            if len(seen) <= chunk.held:
                break
            before = store[chunk.number - 1].params if chunk.held else None
            store.add(chunk.number, self._chunk(source, list(seen), chunk, betas, before))

    def _looks(self, source: FrameSource, first: int, label: str) -> Iterator[_Look]:
        every = self.options.mask_every
        bar = progress(source.frames(first), count=source.count - first, label=label)
        for number, frame in enumerate(bar, start=first):
            yield self._look(frame, number % every == 0)

    def _chunk(
        self,
        source: FrameSource,
        looks: list[_Look],
        chunk: Chunk,
        betas: Tensor,
        before: BodyParams | None,
    ) -> Part:
        held = chunk.held
        fixed = None if before is None else before[-held:]
        keys: dict[int, BodyParams] = {}
        if fixed is not None:
            keys = {number: fixed[number] for number in range(held)}
        found = [look.detection is not None for look in looks]
        for number in keyframes(found, held, self.options.key):
            fitted = self._fit(looks[number], betas)
            if fitted is not None:
                keys[number] = fitted
        if not keys:
            keys = {0: self._absent(source, betas)}
        start = between(keys, len(looks), betas)
        if any(found):
            height, width = self._seen_size(source)
            evidence = gather([k.detection for k in looks], [k.mask for k in looks], width, height)
            start = self.refiner(start, evidence, self._focal(source), held=held)
        stop = min(chunk.kept - chunk.first, len(looks))
        params, shown = start.params()[held:stop], looks[held:stop]
        return Part(
            params.map(lambda value: value.contiguous()),
            torch.tensor([_visibility(look.detection) for look in shown]),
            torch.tensor([look.detection is not None for look in shown]),
        )

    def _absent(self, source: FrameSource, betas: Tensor) -> BodyParams:
        """Somebody who stands in front of the camera, for a beginning that shows nobody."""
        params = self.body.default_params()
        distance = 2.0 * self._focal(source) / self._seen_size(source)[0]
        return params.replace(
            betas=betas, pose=relaxed_pose(), translation=torch.tensor([0.0, 0.0, -distance])
        )

    def _write(
        self, source: FrameSource, out: str | Path, store: PartStore, betas: Tensor
    ) -> VideoResult:
        frames = tracked = 0
        first: Tensor | None = None
        for part in store.parts():
            frames += len(part.tracked)
            tracked += int(part.tracked.sum())
            if first is None:
                first = part.params.translation[0]
        if not tracked or first is None:
            store.remove()
            raise InputError(f"nobody was found in any frame of {source.path}")
        notes = []
        if tracked < frames:
            notes.append(f"nobody was found in {frames - tracked} of {frames} frames")
        camera = self._camera(source, first)
        constants = {
            "betas": betas.numpy(),
            "K": camera.K.numpy(),
            "cam_from_world": camera.cam_from_world.numpy(),
            "image_size": np.array([camera.height, camera.width], np.int64),
            "fps": np.array(source.fps, np.float64),
            "visibility_names": np.array(PART_NAMES, dtype=np.str_),
            "notes": np.array(notes, dtype=np.str_),
            "body_name": np.array(self.body.name, dtype=np.str_),
        }

        def parts() -> Iterator[Part]:
            smooth = _Smoother(source.fps) if self.options.one_euro else None
            for part in store.parts():
                params = part.params.replace(translation=part.params.translation - first)
                yield dataclasses.replace(part, params=smooth(params) if smooth else params)

        join_parts(out, parts, frames, constants)
        store.remove()
        return VideoResult(frames, tracked, source.fps, tuple(notes))

    def _camera(self, source: FrameSource, first: Tensor) -> Camera:
        """The still camera, in a world whose origin is where the person is at first."""
        height, width = self._seen_size(source)
        focal = self._focal(source)
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        flip = torch.tensor(FLIP)
        pose = torch.diag(torch.tensor([*FLIP, 1.0]))
        pose[:3, 3] = flip * first
        return Camera(K, pose, width, height).resized(source.width, source.height)


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


def _visibility(detection: Detection | None) -> list[float]:
    if detection is None:
        return [0.0] * len(PART_NAMES)
    parts = visible_parts(detection)
    return [parts[name] for name in PART_NAMES]


def _small_size(height: int, width: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(height, width))
    return round(height * scale), round(width * scale)


def _shrunk(frame: np.ndarray, side: int) -> np.ndarray:
    size = _small_size(frame.shape[0], frame.shape[1], side)
    if size == frame.shape[:2]:
        return frame
    import cv2

    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
