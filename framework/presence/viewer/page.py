"""Gaussians as one HTML page: a WebGL 2 viewer with the rows of a splat file inside."""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib.resources
import json
import math
import re

import torch
from torch import Tensor

from presence.io.splats import splat_rows
from presence.structures import Camera, Gaussians
from presence.viewer.moving import MovingGaussians

FRONT_FOV = 20.0
"""Degrees of the view from the front, as of the portraits' cameras."""
FRONT_SIZE = 512
FRONT_MARGIN = 1.1


@dataclasses.dataclass(frozen=True)
class Shot:
    """The first view of a page.

    Attributes:
        camera: without batch axes; the page shows its whole picture, however large its window.
        target: [3] the point that the view turns about, world metres.
    """

    camera: Camera
    target: Tensor


def portrait_shot(gaussians: Gaussians, camera: Camera) -> Shot:
    """The view of a camera, turning about what is in the middle of its picture.

    Args:
        gaussians: posed, no batch axis.
        camera: usually the portrait's.
    """
    px, depth = camera.project(gaussians.means)
    seen = camera.contains(px) & (depth > 0) & (gaussians.opacities > 0.5)
    away = depth[seen].median() if seen.any() else depth.median()
    x = (camera.width / 2 - camera.K[0, 2]) / camera.K[0, 0]
    y = (camera.height / 2 - camera.K[1, 2]) / camera.K[1, 1]
    middle = torch.stack([x, y, torch.ones_like(x)]) * away
    rotation, translation = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
    return Shot(camera, rotation.T @ (middle - translation))


def front_shot(gaussians: Gaussians) -> Shot:
    """A view from +z, upright, that shows all of the Gaussians [N]."""
    low, high = gaussians.means.amin(0), gaussians.means.amax(0)
    target, half = (low + high) / 2, (high - low) / 2
    extent = float(half[:2].max()) * FRONT_MARGIN
    fov = math.radians(FRONT_FOV)
    eye = target.clone()
    eye[2] = high[2] + extent / math.tan(fov / 2)
    return Shot(Camera.look_at(eye, target, fov, FRONT_SIZE, FRONT_SIZE), target)


def build_page(
    gaussians: Gaussians | MovingGaussians,
    shot: Shot,
    *,
    background: str = "#ffffff",
    title: str = "Avatar",
) -> str:
    """Returns a page that draws Gaussians and lets people turn them.

    Args:
        gaussians: no batch axis; +y up. Moving ones are played.
        shot: the first view.
        background: colour behind them, `#rrggbb`.
        title: the page's name.
    """
    moving = gaussians if isinstance(gaussians, MovingGaussians) else None
    still = gaussians.canonical if isinstance(gaussians, MovingGaussians) else gaussians
    rows = splat_rows(still)
    scene = {**_scene(shot), "count": len(rows), "motion": moving.facts() if moving else None}
    parts = {
        "title": html.escape(title),
        "background": html.escape(background),
        "scene": json.dumps(scene),
        "vertex": _source("splat.vert"),
        "fragment": _source("splat.frag"),
        "rows": _base64(rows.tobytes()),
        "binding": _base64(moving.binding_words().tobytes()) if moving else "",
        "frames": _base64(moving.packed_frames()) if moving else "",
        "script": _source("motion.js") + _source("viewer.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _source("page.html"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _scene(shot: Shot) -> dict[str, object]:
    """What viewer.js knows of the first view: OpenCV axes, pixels, metres; matrices by rows."""
    camera = shot.camera.to("cpu", torch.float64)
    return {
        "width": camera.width,
        "height": camera.height,
        "focal": [float(camera.K[0, 0]), float(camera.K[1, 1])],
        "centre": [float(camera.K[0, 2]), float(camera.K[1, 2])],
        "rotation": camera.cam_from_world[:3, :3].flatten().tolist(),
        "translation": camera.cam_from_world[:3, 3].tolist(),
        "target": shot.target.tolist(),
    }


def _source(name: str) -> str:
    return importlib.resources.files("presence.viewer").joinpath(name).read_text("utf-8")
