"""The built-in motion "wave": the right hand goes up, waves three times and comes down."""

from __future__ import annotations

import math

import torch

from presence.motion.arms import curl_fingers, set_arm
from presence.motion.clip import Motion
from presence.motion.curves import eased_keys, pulses
from presence.motion.frames import FrameSheet

SECONDS = 3.0


def wave(fps: float) -> Motion:
    """Builds the motion; everything but the right arm only adds to the tracked pose."""
    sheet = FrameSheet(SECONDS, fps)
    time = sheet.time
    raised = eased_keys(time, [(0.0, 0.0), (0.8, 1.0), (2.3, 1.0), (SECONDS, 0.0)])
    swing = raised * torch.sin(2 * math.pi * 1.6 * (time - 0.5))

    # From hanging to raised, elbow at the side, then the forearm swings like a pendulum.
    upper = _mix(raised, (-0.24, -0.96, 0.10), (-0.74, -0.52, 0.30))
    lean = math.radians(24) * swing - math.radians(6) * raised
    up = torch.stack([torch.sin(lean), torch.cos(lean), torch.full_like(lean, 0.22)], -1)
    low = torch.tensor([-0.12, -0.95, 0.30])
    fore = torch.lerp(low.expand_as(up), up, raised[:, None])
    set_arm(sheet, "right", upper, fore + _mix(_hump(raised), (0, 0, 0), (-0.1, 0.0, 0.9)))
    sheet.turn("right_collar", z=-10 * raised, relative=False)
    sheet.turn("right_wrist", y=-6 * raised, z=9 * swing, relative=False)
    curl_fingers(sheet, "right", 16 - 10 * raised, spread=5)

    sheet.turn("spine2", y=-2 * raised, z=-1.5 * raised - 0.8 * swing)
    sheet.turn("neck", y=3 * raised, z=1.5 * raised)
    sheet.turn("head", x=-2 * raised, y=3 * raised, z=3 * raised + 0.8 * swing)
    sheet.act("mouthSmileBoth", 0.35 * eased_keys(time, [(0.3, 0), (1.0, 1), (2.4, 1), (3.0, 0)]))
    sheet.act("browInnerUp", 0.25 * raised)
    sheet.act("eyeBlinkBoth", pulses(time, [0.55, 2.25], 0.24))
    return sheet.motion("wave", ease=0.35)


def _mix(weight: torch.Tensor, start: tuple, end: tuple) -> torch.Tensor:
    first, last = torch.tensor(start, dtype=torch.float32), torch.tensor(end, dtype=torch.float32)
    return first + weight[:, None] * (last - first)


def _hump(weight: torch.Tensor) -> torch.Tensor:
    """1 halfway through the raise: the hand comes up in front of the body, not through it."""
    return 4 * weight * (1 - weight)
