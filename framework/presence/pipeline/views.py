"""Cameras for animations and turntables, framed so that what moves stays in the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from presence.errors import check_known
from presence.geometry import axis_angle_to_matrix
from presence.structures import Camera

View = Literal["portrait", "head", "full", "orbit", "turntable"]
VIEWS: tuple[str, ...] = get_args(View)
"""How an animation can be framed; see `plan_cameras`."""
ORBIT_DEGREES = 35.0
"""How far "orbit" swings to each side."""
MARGIN = 0.05
_UPPER = ("head", "left_arm", "right_arm", "left_hand", "right_hand")


def plan_cameras(
    view: str,
    base: Camera,
    vertices: Mapping[int, Tensor],
    parts: Mapping[str, Tensor],
    frames: int,
    size: int,
) -> list[Camera]:
    """Chooses one camera a frame.

    All of them look from where the portrait was taken, turned about the person's vertical axis
    where the view says so; one window is chosen for the whole clip, so that nothing jitters:

    - "portrait": the portrait's window, widened where head, arms or hands would leave it;
    - "head": head and shoulders;
    - "full": the whole body, unseen parts included;
    - "orbit": as "portrait", swinging to both sides;
    - "turntable": as "portrait", once around.

    Args:
        view: one of `VIEWS`.
        base: the avatar's camera.
        vertices: frame number to posed vertices [V 3], for a sample of the frames.
        parts: the body's vertex parts.
        frames: number of cameras to return.
        size: side of the pictures, px.

    Raises:
        ConfigError: no such view.
    """
    check_known("view", view, VIEWS)
    centre = torch.stack([v.mean(0) for v in vertices.values()]).mean(0)
    turned = [orbit(base, centre, angle) for angle in _angles(view, frames)]
    projected = {i: turned[i].project(v)[0] for i, v in vertices.items()}
    left, top, side = _window(view, base, projected, parts)
    return [_shown(camera, left, top, side, size) for camera in turned]


def orbit(camera: Camera, centre: Tensor, degrees: float) -> Camera:
    """Moves a camera around the vertical axis through `centre` [3]; it keeps looking alike.

    Positive angles move the camera to its right, so that the person's left side comes into view.
    """
    turn = torch.eye(4).to(camera.cam_from_world)
    turn[:3, :3] = axis_angle_to_matrix(centre.new_tensor([0.0, -math.radians(degrees), 0.0]))
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    return camera.replace(cam_from_world=camera.cam_from_world @ turn)


def _shown(camera: Camera, left: float, top: float, side: float, size: int) -> Camera:
    """The camera of the window (left, top, side) px, which need not lie on whole pixels."""
    window = camera.cropped(left, top, 1, 1)
    scale = window.K.new_tensor([size / side, size / side, 1.0])
    return window.replace(K=window.K * scale[:, None], width=size, height=size)


def _angles(view: str, frames: int) -> list[float]:
    if view == "turntable":
        return [360.0 * i / frames for i in range(frames)]
    if view == "orbit":
        return [ORBIT_DEGREES * math.sin(2 * math.pi * i / frames) for i in range(frames)]
    return [0.0] * frames


def _window(
    view: str, base: Camera, projected: Mapping[int, Tensor], parts: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    """Left, top and side of the square to show, in pixels of `base`."""
    if view == "full":
        return _square(_bounds(list(projected.values())))
    if view == "head":
        left, top, right, bottom = _bounds([px[parts["head"]] for px in projected.values()])
        grow = 0.35 * (bottom - top)
        hair = 0.15 * (bottom - top)  # it rises above the mesh
        return _square((left - grow, top - hair, right + grow, bottom + grow))
    return _portrait_window(base, projected, parts)


def _portrait_window(
    base: Camera, projected: Mapping[int, Tensor], parts: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    width, height = float(base.width), float(base.height)
    shown = [parts[name] for name in _UPPER if name in parts]
    inside = []
    for px in projected.values():
        for ids in shown:  # hands that hang below the picture must not pull the window down
            points = px[ids]
            inside.append(points[points[:, 1] < height])
    points = torch.cat(inside)
    if not len(points):
        return 0.0, 0.0, max(width, height)
    left, top, right, _ = _bounds([points])
    pad = MARGIN * height
    left, right, top = min(left - pad, 0.0), max(right + pad, width), min(top - pad, 0.0)
    side = max(right - left, height - top)
    # Grow about the middle sideways and upwards; the lower edge stays where the portrait ends.
    return (left + right - side) / 2, height - side, side


def _bounds(points: Sequence[Tensor]) -> tuple[float, float, float, float]:
    everything = torch.cat([p.reshape(-1, 2) for p in points])
    low, high = everything.min(0).values, everything.max(0).values
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _square(bounds: tuple[float, float, float, float]) -> tuple[float, float, float]:
    left, top, right, bottom = bounds
    side = max(right - left, bottom - top) * (1 + 2 * MARGIN)
    return (left + right - side) / 2, (top + bottom - side) / 2, side
