"""An avatar file to files for other programs, and to a page that shows it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from presence.errors import ConfigError, InputError, check_known
from presence.geometry import quaternion_multiply
from presence.interfaces import Body
from presence.io.atomic import write_text
from presence.io.avatar import load_avatar
from presence.io.splats import write_ply, write_splat
from presence.motion import Motion, retarget
from presence.pipeline.animation import parse_colour
from presence.pipeline.player import check_fit, load_body_for
from presence.pipeline.reenactment import find_driver
from presence.pipeline.views import plan_cameras
from presence.structures import Avatar, Gaussians
from presence.viewer import MovingGaussians, Shot, build_page, front_shot, portrait_shot

_log = logging.getLogger(__name__)

Format = Literal["ply", "splat", "html"]
Pose = Literal["portrait", "rest"]
Axes = Literal["y-up", "y-down"]
FORMATS: tuple[str, ...] = get_args(Format)
"""What an avatar can be exported to; see `export_avatar`."""
POSES: tuple[str, ...] = get_args(Pose)
"""The poses of an export; see `posed_gaussians`."""
AXES: tuple[str, ...] = get_args(Axes)
"""The axes of an export; see `turn_axes`."""
MOTION_FPS = 24.0
"""Frames of a motion that a page holds for each second; it shows what lies between them too."""
MAX_FRAMES = 240
"""Frames that a page holds at most."""


@dataclass(frozen=True)
class ExportResult:
    """What `export_avatar` wrote.

    Attributes:
        path: the file.
        format: one of `FORMATS`.
        count: Gaussians in it.
        size: bytes.
    """

    path: Path
    format: str
    count: int
    size: int


def export_avatar(
    avatar_path: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    pose: str = "portrait",
    axes: str = "y-up",
    motion: str | None = None,
    background: str = "#ffffff",
    body: str | None = None,
) -> ExportResult:
    """Writes the Gaussians of an avatar in one pose.

    Args:
        avatar_path: what `reconstruct` wrote.
        out: the file to write.
        format: "ply" (3D Gaussian splatting's layout), "splat" (32 bytes a Gaussian, for viewers
            on web pages) or "html" (one page that shows the avatar); None goes by `out`'s ending.
        pose: "portrait" or "rest"; see `posed_gaussians`.
        axes: "y-up" or, except for html, "y-down"; see `turn_axes`.
        motion: of html, what the page plays; see `avatar_page`.
        background: of the page, `#rrggbb`, or white, black, grey, green.
        body: the body model's file, where it does not come with the project.

    Raises:
        PresenceError: an input cannot be used; nothing is written then.
    """
    kind = _check_format(format, out)
    check_known("axes", axes, AXES)
    if kind == "html" and axes != "y-up":
        raise ConfigError("axes are for ply and splat: the page shows the avatar upright")
    if kind != "html" and motion is not None:
        raise ConfigError(f"a {kind} file holds one pose: a motion is for html")
    if kind == "html":
        page, count = avatar_page(
            avatar_path, pose=pose, motion=motion, background=background, body=body
        )
        write_text(out, page)
    else:
        gaussians = turn_axes(posed_gaussians(*_load(avatar_path, pose, body), pose), axes)
        count = len(gaussians.opacities)
        (write_ply if kind == "ply" else write_splat)(gaussians, out)
    done = ExportResult(Path(out), kind, count, Path(out).stat().st_size)
    _log.info("wrote %s: %d Gaussians, %d bytes, pose %s", out, count, done.size, pose)
    return done


def avatar_page(
    avatar_path: str | Path,
    *,
    pose: str = "portrait",
    motion: str | None = None,
    background: str = "#ffffff",
    body: str | None = None,
) -> tuple[str, int]:
    """Returns a page that shows an avatar, and its number of Gaussians.

    The first view is the portrait's, or in the rest pose one from the front that shows all.

    Args:
        avatar_path: what `reconstruct` wrote.
        pose: see `posed_gaussians`.
        motion: what `presence.pipeline.reenactment.find_driver` takes, at most `MAX_FRAMES` at
            `MOTION_FPS`; the page plays it from the portrait's pose.
        background: behind the person, see `export_avatar`.
        body: see `export_avatar`.

    Raises:
        PresenceError: an input cannot be used.
    """
    digits = (parse_colour(background) * 255).round().int().tolist()
    colour = "#{:02x}{:02x}{:02x}".format(*digits)
    if motion is not None and pose != "portrait":
        raise ConfigError("a motion starts from the portrait's pose: leave the pose out")
    clip = None if motion is None else _short_motion(motion)
    avatar, model = _load(avatar_path, pose, body)
    gaussians = posed_gaussians(avatar, model, pose)
    shown: Gaussians | MovingGaussians = gaussians
    if clip is not None:
        shown, shot = _moving(avatar, model, clip)
    elif pose == "portrait":
        shot = portrait_shot(gaussians, avatar.camera)
    else:
        shot = front_shot(gaussians)
    title = Path(avatar_path).resolve().parent.name or "Avatar"
    page = build_page(shown, shot, background=colour, title=title)
    return page, len(gaussians.opacities)


def _short_motion(source: str) -> Motion:
    clip = find_driver(source, MOTION_FPS)
    if len(clip) > MAX_FRAMES:
        raise InputError(
            f"{source} takes {clip.duration:.1f} s, a page holds {MAX_FRAMES / MOTION_FPS:g} s"
        )
    return clip


def _moving(avatar: Avatar, body: Body, clip: Motion) -> tuple[MovingGaussians, Shot]:
    """The avatar in every frame, and a view in which its head, arms and hands stay."""
    params = retarget(clip, avatar.body, getattr(body, "expression_names", ()))
    with torch.no_grad():
        meshes = [body(params[i]) for i in range(len(clip))]
    vertices = {i: mesh.vertices for i, mesh in enumerate(meshes)}
    size = max(avatar.camera.width, avatar.camera.height)
    cameras = plan_cameras(
        "portrait", avatar.camera, vertices, body.vertex_parts, len(meshes), size
    )
    shot = portrait_shot(avatar.pose(meshes[0]), cameras[0])
    return MovingGaussians.from_meshes(avatar, meshes, clip.fps), shot


def posed_gaussians(avatar: Avatar, body: Body, pose: str = "portrait") -> Gaussians:
    """Returns an avatar's Gaussians in the world.

    Args:
        avatar: without batch axes.
        body: the body model that it is bound to.
        pose: "portrait": where and how the person stands in the picture; "rest": the T-pose of
            the same person at the origin, who faces +z.
    """
    check_known("pose", pose, POSES)
    params = avatar.body
    if pose == "rest":
        params = params.replace(
            pose=torch.zeros_like(params.pose), translation=torch.zeros_like(params.translation)
        )
    with torch.no_grad():
        return avatar.pose(body(params))


def turn_axes(gaussians: Gaussians, axes: str) -> Gaussians:
    """Returns Gaussians [... N] in other axes.

    Args:
        gaussians: in the world, +y up.
        axes: "y-up": as they are; "y-down": turned by 180 degrees about x, so that +y is down, as
            in scenes captured with COLMAP.
    """
    if axes == "y-up":
        return gaussians
    half_turn = gaussians.quaternions.new_tensor([0.0, 1.0, 0.0, 0.0])
    return gaussians.replace(
        means=gaussians.means * gaussians.means.new_tensor([1.0, -1.0, -1.0]),
        quaternions=quaternion_multiply(
            half_turn.expand_as(gaussians.quaternions), gaussians.quaternions
        ),
    )


def _load(avatar_path: str | Path, pose: str, body: str | None) -> tuple[Avatar, Body]:
    check_known("pose", pose, POSES)
    avatar, header = load_avatar(avatar_path)
    model = load_body_for(str(header["body"]), body, avatar.device)
    check_fit(avatar, model)
    return avatar, model


def _check_format(format: str | None, out: str | Path) -> str:
    if format is None:
        format = Path(out).suffix.removeprefix(".").lower()
        if format not in FORMATS:
            raise ConfigError(
                f"{out} does not end in a known format: name one of {', '.join(FORMATS)}"
            )
    check_known("format", format, FORMATS)
    return format
