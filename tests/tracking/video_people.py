"""A tracker for tests of videos: it sees what it is told to see, by the grey level of a frame."""

from __future__ import annotations

import dataclasses

import numpy as np

from presence.errors import InputError
from presence.structures import Tracking
from presence.tracking.fitting import FitOptions
from presence.tracking.refinement import RefineOptions
from presence.tracking.video import VideoOptions

SIDE = 64
OPTIONS = VideoOptions(
    length=6, ahead=2, key=3, shape_frames=2, refine=RefineOptions(near=0.4, steps=0.05)
)


class KnownTracker:
    """Sees what it is told to see: a frame's grey level is the number of a known person."""

    def __init__(self, body, landmarks, seen, count, nobody=()):
        self.body, self.seen, self.nobody = body, seen, set(nobody)
        self.people = [seen.params(0, 0.2 + 0.01 * i) for i in range(count)]
        self.camera = seen.camera(self.people[0], "full", SIDE)
        self.landmarks, self.options = landmarks, FitOptions()
        self.fitter = self.segmenter = self
        self.calls, self.broken = [], None

    def detector(self, image):
        number = int(image[0, 0, 0]) // 5
        self.calls.append(number)
        if number == self.broken:
            raise RuntimeError("the machine was switched off")
        if number in self.nobody:
            raise InputError("nobody was found in the picture")
        detection = self.seen.detect(self.people[number], self.camera, ("pose", "face"))
        return dataclasses.replace(detection, notes=(str(number),))

    def probability(self, image, detection):
        return np.ones(image.shape[:2], np.float32)

    def __call__(self, detection, alpha, *, betas=None, corrected=True):
        params = self.people[int(detection.notes[0])]
        return Tracking(params if betas is None else params.replace(betas=betas), self.camera)
