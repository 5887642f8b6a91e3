"""Rotations in numpy for drawing poses: few, on the host, before anything goes to a device."""

from __future__ import annotations

import numpy as np

from presence.synthesis.draws import Array


def about(axis: int, angle: Array) -> Array:
    """Returns quaternions [... 4] (w, x, y, z) that turn by `angle` [...] rad about an axis."""
    quaternion = np.zeros((*np.shape(angle), 4))
    quaternion[..., 0] = np.cos(angle / 2)
    quaternion[..., 1 + axis] = np.sin(angle / 2)
    return quaternion


def chain(*quaternions: Array) -> Array:
    """Multiplies quaternions [... 4]; the last one acts first, as matrices would."""
    total = quaternions[0]
    for right in quaternions[1:]:
        real = total[..., :1] * right[..., :1]
        real = real - (total[..., 1:] * right[..., 1:]).sum(-1, keepdims=True)
        imaginary = total[..., :1] * right[..., 1:] + right[..., :1] * total[..., 1:]
        total = np.concatenate([real, imaginary + np.cross(total[..., 1:], right[..., 1:])], -1)
    return total


def to_axis_angle(quaternion: Array) -> Array:
    """Returns rotation vectors [... 3] (rad, at most pi long) of unit quaternions [... 4]."""
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * np.where(sine < 1e-9, 2.0, angle / np.maximum(sine, 1e-9))


def mirrored(axis_angle: Array) -> Array:
    """Reflects rotation vectors [... 3] across the body's left-right plane (x = 0)."""
    return axis_angle * np.array([1.0, -1.0, -1.0])
