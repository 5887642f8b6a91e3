"""`watch`: looks at a video's frames one after the other, Sapiens at several of them at once."""

from __future__ import annotations

from collections.abc import Iterator

from presence.io.video import progress
from presence.tracking.video.frames import FrameSource
from presence.tracking.video.looks import TOGETHER, FrameFits, Look


def watch(
    frames: FrameFits,
    source: FrameSource,
    first: int,
    *,
    mask_every: int,
    sapiens_every: int,
    label: str = "",
) -> Iterator[Look]:
    """Yields looks at the frames from number `first` on.

    Sapiens sees frames in groups that begin at the same numbers in every run, so that a run that
    was stopped goes on to the same result. No more than one group is held.

    Args:
        frames: who looks.
        source: the frames.
        first: number of the first one.
        mask_every: every so many-th frame is segmented.
        sapiens_every: every so many-th frame is seen by Sapiens, where it can be had; 0 for none.
        label: what the progress bar calls the work; no bar if empty.
    """
    every = sapiens_every if frames.sees_keypoints else 0
    group = every * max(TOGETHER // every, 1) if every else 1
    begin = first - first % group
    looks: list[Look] = []
    bar = progress(source.frames(begin), count=source.count - begin, label=label)
    for number, frame in enumerate(bar, start=begin):
        looks.append(frames.look(frame, masked=number % mask_every == 0))
        if (number + 1) % group == 0:
            yield from _seen(frames, looks, begin, every)[max(first - begin, 0) :]
            looks, begin = [], number + 1
    yield from _seen(frames, looks, begin, every)[max(first - begin, 0) :]


def _seen(frames: FrameFits, looks: list[Look], begin: int, every: int) -> list[Look]:
    """Returns the looks from number `begin` on, with keypoints in every so many-th of them."""
    if not every:
        return looks
    wanted = [n for n in range(len(looks)) if (begin + n) % every == 0]
    return frames.with_keypoints(looks, wanted)
