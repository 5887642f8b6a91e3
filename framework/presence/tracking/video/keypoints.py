"""Sapiens' keypoints over a chunk: frames that it did not see keep to what it says nearby."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from presence.tracking.detection import LANDMARK_SETS, SET_SIZES, Detection
from presence.tracking.sapiens_points import is_elsewhere, moved_world

REACH = 8
"""Frames over which a difference of the two networks is carried at least; ours: a third of a
second, in which people turn little and clothes stay where they are."""


@dataclasses.dataclass(frozen=True)
class Differences:
    """How far Sapiens has one set's landmarks from MediaPipe's, in T frames.

    Attributes:
        shift: [T K 2] px, from MediaPipe's to Sapiens'.
        known: [T K] bool, where both networks saw the landmark.
    """

    shift: Tensor
    known: Tensor

    @classmethod
    def of(
        cls, seen: Sequence[Detection | None], joined: Sequence[Detection | None], name: str
    ) -> Differences:
        """Compares detections before and after Sapiens' keypoints were joined.

        Args:
            seen: [T] MediaPipe's, None where nobody was found.
            joined: [T] of the same frames; those that Sapiens did not see are MediaPipe's.
            name: of the set.
        """
        count, size = len(seen), SET_SIZES[name]
        shift, known = torch.zeros(count, size, 2), torch.zeros(count, size, dtype=torch.bool)
        for number, (before, after) in enumerate(zip(seen, joined, strict=True)):
            if before is None or after is None or name not in before.keypoints:
                continue
            taken = after.taken.get(name)
            if taken is None or is_elsewhere(before, after, name):
                continue
            shift[number] = (after.keypoints[name] - before.keypoints[name])[:, :2]
            known[number] = taken
        return cls(shift, known)

    def carried(self, reach: int) -> Differences:
        """Returns the differences of all frames that have one within `reach` frames.

        Linear between two such frames; where there is one on one side alone, its difference.
        """
        count = len(self.known)
        frames = torch.arange(count)[:, None]
        before = torch.where(self.known, frames, -count).cummax(0).values
        after = torch.where(self.known, frames, 2 * count).flip(0).cummin(0).values.flip(0)
        lately = (before >= 0) & (frames - before <= reach)
        soon = (after < count) & (after - frames <= reach)
        share = (frames - before) / (after - before).clamp_min(1)
        share = torch.where(lately & soon, share, soon.float())[..., None]
        first, second = self._at(before), self._at(after)
        return Differences(torch.lerp(first, second, share), lately | soon)

    def _at(self, frames: Tensor) -> Tensor:
        """Returns the shifts [T K 2] of each landmark's own frames [T K]."""
        numbers = frames.clamp(0, len(self.known) - 1)[..., None]
        return self.shift.gather(0, numbers.expand(-1, -1, 2))


def with_carried_keypoints(
    seen: Sequence[Detection | None], joined: Sequence[Detection | None], reach: int
) -> list[Detection | None]:
    """Returns a chunk's detections with Sapiens' keypoints wherever they, or neighbours', are.

    Where Sapiens did not look, or was not sure, MediaPipe's landmark moves by the difference of
    both networks in the frames nearby, and counts as Sapiens': the motion is MediaPipe's, and the
    target does not jump from the one's point of the body to the other's.

    Args:
        seen: [T] MediaPipe's, None where nobody was found.
        joined: [T] of the same frames; those that Sapiens did not see are MediaPipe's.
        reach: frames over which a difference is carried.
    """
    result = list(joined)
    if not any(detection is not None and detection.taken for detection in joined):
        return result
    for name in LANDMARK_SETS:
        found = Differences.of(seen, joined, name)
        everywhere = found.carried(reach)
        for number, before in enumerate(seen):
            present = result[number]
            if before is None or present is None or name not in before.keypoints:
                continue
            own = present.taken.get(name)
            if own is not None and is_elsewhere(before, present, name):
                continue  # MediaPipe's was another thing
            rows = everywhere.known[number]
            rows = rows if own is None else rows & ~own
            if rows.any():
                result[number] = _moved(present, name, everywhere.shift[number], rows)
    return result


def _moved(detection: Detection, name: str, shift: Tensor, rows: Tensor) -> Detection:
    """Returns a detection whose landmarks in `rows` [K] moved by `shift` [K 2] to Sapiens'."""
    points = detection.keypoints[name].clone()
    points[:, :2] += shift * rows[:, None]
    own = detection.taken.get(name, torch.zeros_like(rows))
    return dataclasses.replace(
        detection,
        keypoints={**detection.keypoints, name: points},
        world=moved_world(detection, points, rows) if name == "pose" else detection.world,
        taken={**detection.taken, name: own | rows},
    )
