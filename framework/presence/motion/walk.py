"""The built-in motion "walk": two strides on the spot, arms swinging."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.motion.arms import Side, curl_fingers, set_arm
from presence.motion.clip import Motion
from presence.motion.curves import periodic, pulses
from presence.motion.frames import FrameSheet

STRIDE = 1.2
"""Seconds of one gait cycle, heel strike to heel strike of the same foot."""
STRIDES = 3
_THIGH, _SHANK, _FOOT = 0.45, 0.45, 0.15  # metres of an average adult, for the pelvis height only

# Sagittal angles in degrees over the gait cycle (0 = heel strike), from the typical curves of
# gait analysis: flexion positive, the ankle's dorsiflexion positive.
_HIP = ((0.0, 27), (0.12, 22), (0.30, 5), (0.50, -11), (0.62, -2), (0.75, 21), (0.87, 30))
_KNEE = ((0.0, 5), (0.13, 17), (0.38, 5), (0.50, 11), (0.62, 40), (0.73, 60), (0.86, 27), (0.96, 4))
_ANKLE = ((0.0, 1), (0.08, -5), (0.40, 10), (0.50, 6), (0.62, -17), (0.76, 0), (0.90, 2))


def walk(fps: float) -> Motion:
    """Builds the motion; legs and arms are driven, the trunk adds to the tracked pose."""
    sheet = FrameSheet(STRIDE * STRIDES, fps)
    phase = sheet.time / STRIDE
    left, right = _leg(sheet, "left", phase), _leg(sheet, "right", phase + 0.5)
    turn = torch.cos(2 * math.pi * phase)  # +1 when the left leg is in front
    sway = torch.sin(2 * math.pi * (phase - 0.05))  # towards the leg that carries

    sheet.turn("pelvis", y=-5 * turn, z=2.0 * sway)
    sheet.turn("spine1", x=2.0, y=3 * turn, z=-1.0 * sway)
    sheet.turn("spine2", y=3 * turn, z=-1.0 * sway)
    sheet.turn("spine3", y=4 * turn)
    sheet.turn("neck", x=-1.0, y=-2.5 * turn)
    sheet.turn("head", x=-1.0, y=-2.5 * turn)
    _arm(sheet, "left", -turn)
    _arm(sheet, "right", turn)
    height = -torch.minimum(left, right)  # the lower foot stands on the ground
    shift = torch.stack([0.018 * sway, height - height.max(), torch.zeros_like(sway)], -1)
    sheet.move(shift)
    sheet.act("eyeBlinkBoth", pulses(sheet.time, [0.9, 2.7], 0.24))
    return sheet.motion("walk", ease=0.4)


def _leg(sheet: FrameSheet, side: Side, phase: Tensor) -> Tensor:
    """Drives one leg; returns the height [T] of its lowest point below the hip, in metres."""
    hip, knee, ankle = (periodic(phase, keys) for keys in (_HIP, _KNEE, _ANKLE))
    outward = 1.5 if side == "left" else -1.5
    sheet.turn(f"{side}_hip", x=-hip, z=outward, relative=False)
    sheet.turn(f"{side}_knee", x=knee, relative=False)
    sheet.turn(f"{side}_ankle", x=-ankle, relative=False)
    toes = 22 * pulses(phase % 1.0, [0.57], 0.3)  # they bend while the heel lifts
    sheet.turn(f"{side}_foot", x=-toes, relative=False)
    thigh, shank = torch.deg2rad(hip), torch.deg2rad(hip - knee)
    foot = torch.deg2rad(hip - knee + ankle)  # of the sole against the ground
    heel = -_THIGH * torch.cos(thigh) - _SHANK * torch.cos(shank)
    return torch.minimum(heel, heel + _FOOT * torch.sin(foot))


def _arm(sheet: FrameSheet, side: Side, swing: Tensor) -> None:
    """Swings one arm; `swing` [T] is +1 in front."""
    out = 1.0 if side == "left" else -1.0
    angle = torch.deg2rad(4 + 19 * swing)
    bent = angle + torch.deg2rad(20 + 9 * swing)
    width = torch.full_like(swing, 0.20 * out)
    upper = torch.stack([width, -torch.cos(angle), torch.sin(angle)], -1)
    fore = torch.stack([0.5 * width, -torch.cos(bent), torch.sin(bent)], -1)
    set_arm(sheet, side, upper, fore)
    curl_fingers(sheet, side, 18)
