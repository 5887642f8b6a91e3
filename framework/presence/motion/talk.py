"""The built-in motion "talk": the head turns from side to side while the mouth speaks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.motion.clip import Motion
from presence.motion.curves import eased_keys, pulses
from presence.motion.frames import FrameSheet

SECONDS = 4.0
JAW_DEGREES = 13.0
"""Opening of the jaw at amount 1, degrees."""

# Mouth shapes: the jaw's opening (0..1), then ARKit actions that shape the lips.
_VISEMES: dict[str, tuple[float, dict[str, float]]] = {
    "rest": (0.0, {}),
    "AA": (0.95, {"mouthLowerDownBoth": 0.30, "mouthUpperUpBoth": 0.15}),
    "EH": (0.50, {"mouthStretchBoth": 0.30, "mouthLowerDownBoth": 0.25, "mouthSmileBoth": 0.15}),
    "EE": (0.22, {"mouthStretchBoth": 0.35, "mouthSmileBoth": 0.30, "mouthLowerDownBoth": 0.2}),
    "OH": (0.55, {"mouthFunnel": 0.55, "mouthPucker": 0.20}),
    "OO": (0.20, {"mouthPucker": 0.65, "mouthFunnel": 0.25}),
    "MB": (0.02, {"mouthPressBoth": 0.40, "mouthRollLower": 0.15, "mouthRollUpper": 0.15}),
    "FV": (0.10, {"mouthRollLower": 0.40, "mouthUpperUpBoth": 0.20}),
    "SZ": (0.10, {"mouthStretchBoth": 0.20, "mouthLowerDownBoth": 0.20}),
}
# "Hello. My name is whatever you like; look at me from both sides", roughly, in mouth shapes.
_SPEECH: tuple[tuple[float, str], ...] = (
    (0.20, "rest"), (0.34, "EH"), (0.50, "OH"), (0.64, "OO"), (0.78, "rest"),
    (0.92, "MB"), (1.02, "AA"), (1.14, "EE"), (1.26, "EH"), (1.38, "MB"),
    (1.48, "EE"), (1.58, "SZ"), (1.70, "OO"), (1.80, "AA"), (1.92, "EH"),
    (2.04, "FV"), (2.14, "EH"), (2.26, "rest"), (2.44, "OO"), (2.54, "OH"),
    (2.66, "MB"), (2.78, "AA"), (2.92, "EE"), (3.04, "FV"), (3.14, "AA"),
    (3.26, "MB"), (3.38, "OH"), (3.52, "SZ"), (3.64, "AA"), (3.78, "SZ"), (3.92, "rest"),
)  # fmt: skip


def talk(fps: float) -> Motion:
    """Builds the motion; it adds to the tracked head pose and expression."""
    sheet = FrameSheet(SECONDS, fps)
    time = sheet.time
    yaw = eased_keys(time, [(0.3, 0), (1.2, 26), (1.7, 24), (2.9, -26), (3.3, -24), (3.95, 0)])
    nod = 3.0 * pulses(time, [0.5, 1.1, 1.9, 2.8, 3.5], 0.5)
    tilt = 3.0 * torch.sin(2 * math.pi * time / SECONDS)
    sheet.turn("spine3", y=0.08 * yaw)
    sheet.turn("neck", x=0.4 * nod, y=0.42 * yaw, z=0.4 * tilt)
    sheet.turn("head", x=0.6 * nod - 1.0, y=0.50 * yaw, z=0.6 * tilt)
    for eye in ("left_eye", "right_eye"):  # the gaze stays behind, with the listener
        sheet.turn(eye, y=-0.4 * yaw, x=-0.4 * nod)
    _speak(sheet, time)
    beats = pulses(time, [0.5, 1.05, 2.75, 3.6], 0.45)
    sheet.act("browInnerUp", 0.35 * beats)
    sheet.act("browOuterUpBoth", 0.25 * beats)
    sheet.act("eyeBlinkBoth", pulses(time, [0.28, 1.45, 2.3, 3.82], 0.22))
    return sheet.motion("talk", ease=0.2)


def _speak(sheet: FrameSheet, time: Tensor) -> None:
    def curve(values: list[float]) -> Tensor:
        return eased_keys(time, [(at, value) for (at, _), value in zip(_SPEECH, values)])

    shapes = [_VISEMES[name] for _, name in _SPEECH]
    sheet.turn("jaw", x=JAW_DEGREES * curve([opening for opening, _ in shapes]), relative=True)
    for action in sorted({name for _, lips in shapes for name in lips}):
        sheet.act(action, curve([lips.get(action, 0.0) for _, lips in shapes]))
