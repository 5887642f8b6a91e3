"""`TrackingVideo`: a rendered clip of a known motion, tracked: jitter, speed and memory."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from presence.benchmark.base import Benchmark, BenchmarkReport
from presence.io.atomic import atomic_file, write_text
from presence.registry import BENCHMARKS, TRACKERS
from presence.tracking.default import tracker_config

if TYPE_CHECKING:
    from presence.tracking.video import FrameSource

_FPS = 25.0


@BENCHMARKS.register()
class TrackingVideo(Benchmark):
    """Renders a half-body person who talks and waves for ten seconds, and tracks the clip.

    Writes `clip.mp4`, `truth.npz`, `tracking.npz`, `table.md` and `summary.json`. The clip and
    its truth are kept; the tracking is done anew at every run, because it is timed.

    Args:
        tracker: config of the tracker, which is given the body; None for the default one.
        motions: built-in motions, made one after the other.
        seconds: length of the clip.
        index: which of the rendered people.
        options: of `presence.tracking.video.VideoOptions`.

    Example:
        >>> TrackingVideo(seconds=1.0).frames
        25
    """

    def __init__(
        self,
        *,
        tracker: Mapping[str, Any] | None = None,
        motions: Sequence[str] = ("talk", "wave", "talk"),
        seconds: float = 10.0,
        index: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tracker = tracker_config(tracker)
        self.motions, self.index = tuple(motions), index
        self.frames = round(seconds * _FPS)
        self.options = dict(options or {})

    def run(self, out: Path) -> BenchmarkReport:
        """Renders the clip if it is not there yet, tracks it, and compares with the truth."""
        from presence.bodies import load_body
        from presence.tracking.video import VideoOptions, VideoTracker, open_frames

        out.mkdir(parents=True, exist_ok=True)
        body = load_body("annyx")
        clip, truth = out / "clip.mp4", out / "truth.npz"
        if not (clip.is_file() and truth.is_file()):
            self._render(body, clip, truth)
        tracker = VideoTracker(
            TRACKERS.build(self.tracker, body=body), VideoOptions(**self.options)
        )
        source, peaks = _watched(open_frames(clip))
        start, used = time.perf_counter(), time.process_time()
        result = tracker(source, out / "tracking.npz", label="tracking")
        seconds, used = time.perf_counter() - start, time.process_time() - used
        summary = {
            "frames": result.frames,
            "tracked": result.tracked,
            "fps": result.frames / seconds,
            "processor seconds a frame": used / result.frames,
            "peak memory half-way, MB": peaks[-result.frames // 2],
            "peak memory at the end, MB": peaks[-1],
            **compare_clip(body, truth, out / "tracking.npz"),
        }
        lines = ["| measured | value |", "|---|---|"]
        lines += [f"| {name} | {value:.3g} |" for name, value in summary.items()]
        write_text(out / "summary.json", json.dumps(summary, indent=2))
        write_text(out / "table.md", "\n".join(lines) + "\n")
        files = (out / "table.md", out / "summary.json", out / "tracking.npz", clip, truth)
        return BenchmarkReport("\n".join(lines), files)

    def _render(self, body: Any, clip: Path, truth: Path) -> None:
        from presence.io.video import write_video
        from presence.motion import builtin_motion
        from presence.structures import stack
        from presence.tracking.measuring.known_people import KnownPeople, KnownPerson

        people = KnownPeople(body, supersample=1)
        shown: list[KnownPerson] = []

        def pictures() -> Iterator[Any]:
            motions = [builtin_motion(name, _FPS) for name in self.motions]
            for person in people.clip(motions, self.index):
                if len(shown) == self.frames:
                    return
                shown.append(dataclasses.replace(person, portrait=None))  # type: ignore[arg-type]
                yield person.portrait.rgb

        write_video(clip, pictures(), _FPS, count=self.frames, label="rendering", quality=12)
        bodies = [person.body for person in shown]
        with atomic_file(truth) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                K=shown[0].camera.K.numpy(),
                cam_from_world=shown[0].camera.cam_from_world.numpy(),
                **{name: value.numpy() for name, value in stack(bodies).tensors().items()},
            )


def compare_clip(body: Any, truth: Path, tracked: Path) -> dict[str, float]:
    """Compares a tracked clip with its truth, on vertices that the first frame shows.

    Returns:
        mean acceleration of vertices in the camera's frame (m/s^2) of both, their ratio, and the
        mean distance of projected vertices, % of the height of the picture.
    """
    import torch

    from presence.io.motion import load_motion
    from presence.structures import BodyParams, Camera
    from presence.tracking.files import read_shape

    with np.load(truth, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    with np.load(tracked, allow_pickle=False) as file:
        found = {name: torch.from_numpy(file[name]) for name in ("K", "cam_from_world")}
        person = load_motion(tracked).body[0].replace(**read_shape(file))
        height, width = (int(side) for side in file["image_size"])
    cameras = [Camera(a["K"], a["cam_from_world"], width, height) for a in (arrays, found)]
    params = load_motion(tracked).body
    count = params.batch_shape[0]
    names = [field.name for field in dataclasses.fields(BodyParams)]
    clips = (
        BodyParams(**{name: arrays[name][:count] for name in names if name in arrays}),
        params.shaped_as(person),
    )
    first, _ = cameras[0].project(body(clips[0][0]).vertices)
    shown = ((first > 0) & (first < torch.tensor([width, height]))).all(-1)
    spaces, pixels = [], []
    for clip, camera in zip(clips, cameras, strict=True):
        points = [body(clip[i]).vertices[shown] for i in range(count)]
        spaces.append(torch.stack([camera.to_cam(p) for p in points]))
        pixels.append(torch.stack([camera.project(p)[0] for p in points]))
    jitter = [float((_FPS**2 * (x[2:] - 2 * x[1:-1] + x[:-2])).norm(dim=-1).mean()) for x in spaces]
    # A wrong field of view scales depth, and with it every motion along the line of sight.
    return {
        "acceleration of the truth, m/s^2": jitter[0],
        "acceleration as tracked, m/s^2": jitter[1],
        "jitter": jitter[1] / jitter[0],
        "vertices from true ones, % of picture height": 100
        * float((pixels[0] - pixels[1]).norm(dim=-1).mean())
        / height,
    }


def _watched(source: FrameSource) -> tuple[FrameSource, list[float]]:
    """Returns the source and a list that it fills with the peak memory (MB) at each frame."""
    peaks: list[float] = []

    class Watched(type(source)):  # type: ignore[misc]
        def frames(self, first: int = 0) -> Iterator[np.ndarray]:
            for frame in super().frames(first):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
                yield frame

    values = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    return Watched(**values), peaks
