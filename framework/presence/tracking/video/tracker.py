"""`VideoTracker`: tracks one person through a video of any length, chunk by chunk."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from presence.errors import ConfigError
from presence.structures import BodyParams, Camera, cat, focal_from_fov
from presence.tracking.detection import Detection
from presence.tracking.fusing.regimes import RegimeMap
from presence.tracking.refinement.evidence import FrameEvidence, gather
from presence.tracking.refinement.head_tie import HeadTie
from presence.tracking.refinement.posing import FrameStates, fit_camera, seen_by_camera
from presence.tracking.refinement.refiner import RefineOptions, Refiner
from presence.tracking.relaxed import relaxed_pose
from presence.tracking.video.chunks import Chunk, plan_chunks
from presence.tracking.video.frames import FrameSource
from presence.tracking.video.keypoints import REACH, with_carried_keypoints
from presence.tracking.video.looks import FrameFits, FrameTracker, Look, small_size, visibility
from presence.tracking.video.part_models import Found, PartModels
from presence.tracking.video.parts import Part, PartStore
from presence.tracking.video.reasons import Reason, reasons_of, why_alone
from presence.tracking.video.shape import VideoShape
from presence.tracking.video.starts import between, keyframes
from presence.tracking.video.watching import watch
from presence.tracking.video.writing import VideoResult, write_video_tracking

_log = logging.getLogger(__name__)


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
        sapiens_every: with Sapiens' file, it looks at every so many-th frame, and at keyframes;
            0: at keyframes alone. Most of a frame's time is this (docs/tracking.md).
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
    sapiens_every: int = 2
    one_euro: bool = False
    refine: RefineOptions = RefineOptions(near=0.4, near_place=0.3)
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Checks what comes from the command line.

        Raises:
            ConfigError: Sapiens should look at every so many-th frame, of less than none.
        """
        if self.sapiens_every < 0:
            raise ConfigError(f"sapiens_every should be 0 or more, got {self.sapiens_every}")


class VideoTracker:
    """Tracks videos: shape from frames spread over it, then chunks through all three stages.

    Keyframes start where the tracker puts them: at the fit to landmarks, or, with a tracker that
    has other estimators at hand, at its fused and refined start. Then, and only then, the
    pictures of a chunk are held in memory too. With Sapiens' file, its keypoints take the place
    of MediaPipe's landmarks in the frames between as well (`presence.tracking.video.keypoints`).
    Where FLAME and MANO see head and hands of a keyframe, the head and hand stages of its chunk
    listen to them there.

    Args:
        tracker: detector, segmenter and single-frame fit.
        options: settings.
    """

    def __init__(self, tracker: FrameTracker, options: VideoOptions | None = None) -> None:
        self.tracker, self.options = tracker, options or VideoOptions()
        self.frames = FrameFits(tracker, self.options.side)
        fitter = tracker.fitter
        self.body, self.fov = fitter.body, fitter.options.fov
        self.parts = PartModels(self.body, self.frames.others)
        self.regimes: RegimeMap = getattr(tracker, "regimes", None) or RegimeMap.load()
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
        shape = VideoShape.stored(store) or self._shape(source)
        shape.keep(store)
        chunks = list(plan_chunks(source.count, self.options.length, self.options.ahead))
        done = next((c.number for c in chunks if c.number not in store), len(chunks))
        if 0 < done < len(chunks):
            _log.info("going on at frame %d of %d", chunks[done].fresh, source.count)
        if done < len(chunks):
            self._chunks(source, shape, chunks[done:], store, label)
        return write_video_tracking(
            out,
            store,
            source,
            self._camera(source),
            shape,
            body_name=self.body.name,
            notes=tuple(why_alone(self.frames.others, self.frames.missing)),
            one_euro=self.options.one_euro,
        )

    def _plan(self, source: FrameSource) -> dict[str, Any]:
        stat = source.path.stat()
        options = dataclasses.asdict(self.options)
        about = {"source": str(source.path.resolve()), "changed": stat.st_mtime_ns}
        size = {"frames": source.count, "size": [source.height, source.width]}
        plan = about | size | {"fov": self.fov, "body": self.body.name, "options": options}
        others = self.frames.others
        dense = {"models": self.parts.names} if self.parts.names else {}
        gate = {"seen": dict(self.regimes.seen)}
        return plan | gate | ({"estimators": list(others)} if others else {}) | dense

    def _seen_size(self, source: FrameSource) -> tuple[int, int]:
        return small_size(source.height, source.width, self.options.side)

    def _focal(self, source: FrameSource) -> float:
        return focal_from_fov(self.fov, max(self._seen_size(source)))

    def _shape(self, source: FrameSource) -> VideoShape:
        """Finds one shape of the body and one of FLAME's head, from frames over the video."""
        count = min(self.options.shape_frames, source.count)
        wanted = {round((i + 0.5) * source.count / count - 0.5) for i in range(count)}
        looks: list[Look] = []
        fits: list[BodyParams] = []
        models: list[Found] = []
        for number, frame in enumerate(source.frames()):
            if number not in wanted:
                continue
            look = self.frames.look(frame, masked=True)
            look = self.frames.with_keypoints([look], [0])[0]
            fitted = self.frames.fit(look, None)
            if fitted is not None:
                looks.append(dataclasses.replace(look, picture=None))
                fits.append(seen_by_camera(self.body, fitted.tracking))
                models.append(fitted.models)
        if not fits:
            # The frames in between may still show somebody: the mean adult does for a shape.
            _log.info("nobody was found in %d frames spread over the video", count)
            return VideoShape(self.body.default_params().betas, self.parts.mean_head())
        start = FrameStates.from_params(cat([params.unsqueeze() for params in fits]))
        height, width = self._seen_size(source)
        evidence = self._evidence(source, looks, [look.joined for look in looks])
        focal = self._focal(source)
        heads = self.parts.heads(models)
        tie = None if heads is None else HeadTie(heads[0], heads[1].shape)
        states = self.shaper(start, evidence, focal, betas=True, tie=tie)
        return self.parts.shape(states, heads, focal, (width, height))

    def _chunks(
        self,
        source: FrameSource,
        shape: VideoShape,
        chunks: Sequence[Chunk],
        store: PartStore,
        label: str,
    ) -> None:
        seen: deque[Look] = deque()
        offset = chunks[0].first
        frames = self._watch(source, offset, label)
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
            store.add(chunk.number, self._chunk(source, list(seen), chunk, shape, before))

    def _watch(self, source: FrameSource, first: int, label: str) -> Iterator[Look]:
        options = self.options
        every = dict(mask_every=options.mask_every, sapiens_every=options.sapiens_every)
        return watch(self.frames, source, first, label=label, **every)

    def _chunk(
        self,
        source: FrameSource,
        looks: list[Look],
        chunk: Chunk,
        shape: VideoShape,
        before: BodyParams | None,
    ) -> Part:
        held = chunk.held
        fixed = None if before is None else before[-held:]
        stop = min(chunk.kept - chunk.first, len(looks))
        keys: dict[int, BodyParams] = {}
        models: dict[int, Found] = {}
        reasons: list[Reason] = []  # of frames that count; those looked at ahead come again
        if fixed is not None:
            keys = {number: fixed[number] for number in range(held)}
        found = [look.detection is not None for look in looks]
        numbers = keyframes(found, held, self.options.key)
        looks = self.frames.with_keypoints(looks, numbers)
        for number in numbers:
            fitted = self.frames.fit(looks[number], shape.betas, shape.head)
            if fitted is not None:
                keys[number] = seen_by_camera(self.body, fitted.tracking)
                models[number] = fitted.models
                reasons += reasons_of(fitted.tracking) if number < stop else []
        if not keys:
            keys = {0: self._absent(source, shape.betas)}
        start = between(keys, len(looks), shape.betas, shape.offsets)
        if any(found):
            evidence = self._evidence(source, looks, self._joined(looks))
            flame, dense = self.parts.of_chunk(models, len(looks), shape.head)
            focal = self._focal(source)
            start = self.refiner(start, evidence, focal, held=held, dense=dense, flame=flame)
        params = start.params().replace(offsets=None)[held:stop]
        shown = [look.joined for look in looks[held:stop]]
        return Part(
            params.map(lambda value: value.contiguous()),
            torch.tensor([visibility(seen) for seen in shown]),
            torch.tensor([seen is not None for seen in shown]),
            torch.tensor([seen is not None and bool(seen.taken) for seen in shown]),
            tuple(reasons),
        )

    def _evidence(
        self, source: FrameSource, looks: Sequence[Look], seen: Sequence[Detection | None]
    ) -> FrameEvidence:
        height, width = self._seen_size(source)
        return gather(seen, [look.mask for look in looks], width, height, self.regimes)

    def _joined(self, looks: Sequence[Look]) -> list[Detection | None]:
        """Returns what the stages listen to: Sapiens' keypoints, where there are some nearby."""
        reach = max(REACH, self.options.key)
        return with_carried_keypoints(
            [k.detection for k in looks], [k.joined for k in looks], reach
        )

    def _absent(self, source: FrameSource, betas: Tensor) -> BodyParams:
        """Somebody who stands in front of the camera, for a beginning that shows nobody."""
        params = self.body.default_params()
        distance = 2.0 * self._focal(source) / self._seen_size(source)[0]
        return params.replace(
            betas=betas, pose=relaxed_pose(), translation=torch.tensor([0.0, 0.0, -distance])
        )

    def _camera(self, source: FrameSource) -> Camera:
        """The still camera of the video's frames, in the fit's axes."""
        height, width = self._seen_size(source)
        focal = self._focal(source)
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return fit_camera(K, width, height).resized(source.width, source.height)
