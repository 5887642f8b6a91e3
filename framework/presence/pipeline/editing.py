"""Edits of avatars that change one region and leave every other Gaussian as it is, bit by bit."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.errors import InputError, did_you_mean
from presence.interfaces import Body
from presence.io.images import to_uint8
from presence.rasterize import build_rasterizer
from presence.structures import Avatar, Gaussians, Portrait, SurfaceBinding

MAP_SIZES = (32, 64, 128, 256, 512, 1024, 2048)
"""Sides of attribute maps that are recognised in an avatar file."""
CHANGED = 6 / 255
"""Largest difference of a channel that counts as unchanged: what JPEG leaves of a flat area."""
_BEHIND = 0.04  # metres that a visible Gaussian may lie behind the body's surface


def merge_avatars(original: Avatar, edited: Avatar, region: Tensor) -> Avatar:
    """Takes the Gaussians of a region from an edited avatar of the same person.

    Args:
        original: the avatar to change, without batch axes.
        edited: same binding.
        region: [N] bool.

    Returns:
        An avatar whose Gaussians outside the region are the original's, bit by bit.

    Raises:
        InputError: the avatars are bound to different points.
    """
    ours, theirs = original.binding, edited.binding
    if ours.uv.shape != theirs.uv.shape or not torch.equal(ours.vertex_ids, theirs.vertex_ids):
        raise InputError("the avatars are bound to different points: they need one body and map")

    def choose(name: str) -> Tensor:
        first, second = getattr(original.canonical, name), getattr(edited.canonical, name)
        return torch.where(region.view(-1, *[1] * (first.ndim - 1)), second, first)

    names = ("means", "quaternions", "scales", "opacities", "colors")
    return original.replace(canonical=Gaussians(**{name: choose(name) for name in names}))


def changed_pixels(
    before: Portrait, after: Portrait, *, threshold: float = CHANGED, grow: int = 3
) -> Tensor:
    """Returns [H W] bool: pixels whose colour or mask differs, and those around them.

    Args:
        before: the portrait.
        after: its edit, of the same size.
        threshold: largest difference of a channel that counts as unchanged.
        grow: px by which the region grows, since neighbours' Gaussians overlap.

    Raises:
        InputError: the sizes differ.
    """
    if before.size != after.size:
        raise InputError(
            f"the edited picture has {after.size[1]} x {after.size[0]} pixels, "
            f"the portrait {before.size[1]} x {before.size[0]}"
        )
    colour = (before.rgb - after.rgb).abs().amax(0)
    mask = (before.alpha - after.alpha).abs()[0]
    changed = ((colour > threshold) | (mask > 0.5)).float()
    grown = F.max_pool2d(changed[None, None], 2 * grow + 1, 1, grow)
    return grown[0, 0] > 0


@torch.no_grad()
def region_of_pixels(avatar: Avatar, body: Body, pixels: Tensor) -> Tensor:
    """Returns [N] bool: Gaussians that show in the given pixels of the avatar's own portrait.

    A Gaussian shows where its centre projects to, unless the body's surface hides it.

    Args:
        avatar: without batch axes.
        body: the body it is bound to.
        pixels: [H W] bool, of the portrait's size.
    """
    camera = avatar.camera
    mesh = body(avatar.body)
    px, depth = camera.project(avatar.pose(mesh).means)
    screen = camera.screen(mesh.vertices)[None]
    rasterizer = build_rasterizer("auto")
    fragments = rasterizer(screen, body.topology.faces, camera.height, camera.width)
    column, row = px[:, 0].floor().long(), px[:, 1].floor().long()
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    at = row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)
    visible = depth <= fragments.depth[0][at] + _BEHIND
    return inside & (depth > 0) & visible & pixels.to(px.device)[at]


def region_of_parts(avatar: Avatar, body: Body, parts: list[str]) -> Tensor:
    """Returns [N] bool: Gaussians bound to the named parts of the body.

    Raises:
        InputError: the body has no such part.
    """
    member = torch.zeros(body.topology.num_vertices, device=avatar.device)
    for part in parts:
        if part not in body.vertex_parts:
            raise InputError(
                f"body {body.name} has no part `{part}`.{did_you_mean(part, body.vertex_parts)} "
                f"Parts: {', '.join(sorted(body.vertex_parts))}."
            )
        member[body.vertex_parts[part].to(avatar.device)] = 1.0
    weights = member[avatar.binding.vertex_ids] * avatar.binding.barycentrics
    return weights.sum(-1) > 0.5


@torch.no_grad()
def edit_from_portrait(
    model: Any,
    avatar: Avatar,
    before: Portrait,
    after: Portrait,
    *,
    parts: list[str] | None = None,
    threshold: float = CHANGED,
) -> tuple[Avatar, Tensor]:
    """Carries an edit of the portrait over to the avatar.

    The edited portrait is reconstructed with the avatar's own body and camera; of the result,
    only the Gaussians of the region are taken.

    Args:
        model: an `AvatarModel` in eval mode, usually the one that made the avatar.
        avatar: without batch axes, on the model's device.
        before: the portrait that the avatar was made from, as the model saw it.
        after: its edit.
        parts: parts of the body as the region; None takes what shows in the changed pixels.
        threshold: largest difference of a channel that counts as unchanged.

    Returns:
        The edited avatar, and the region [N] that was taken.

    Raises:
        InputError: the pictures do not fit, nothing was changed, or a part is unknown.
    """
    changed = changed_pixels(before, after, threshold=threshold)
    if not changed.any():
        raise InputError("the edited picture is the portrait: nothing was changed")
    device = avatar.device
    edited = model.reconstruct(after.to(device), avatar.body, avatar.camera)
    if parts is not None:
        region = region_of_parts(avatar, model.body, parts)
    else:  # where the change shows now, and where the new Gaussians put it (longer hair)
        region = region_of_pixels(avatar, model.body, changed)
        region |= region_of_pixels(edited, model.body, changed)
    return merge_avatars(avatar, edited, region), region


def map_size(binding: SurfaceBinding) -> int:
    """Returns the side S of the maps whose texel centres the points are.

    Raises:
        InputError: the points lie on no such grid.
    """
    for size in MAP_SIZES:
        place = binding.uv.double() * size - 0.5
        if (place - place.round()).abs().max() < 0.02:
            return size
    raise InputError("the avatar's points lie on no grid of texels, so it has no colour map")


def texel_index(binding: SurfaceBinding) -> tuple[int, Tensor, Tensor]:
    """Returns the map's side, and row and column [N] of each point's texel (row 0 is v = 1)."""
    size = map_size(binding)
    column = (binding.uv[:, 0] * size - 0.5).round().long()
    row = ((1 - binding.uv[:, 1]) * size - 0.5).round().long()
    return size, row, column


def colour_map(avatar: Avatar) -> Tensor:
    """Returns the avatar's colours as a picture [4 S S] with alpha 1 inside the charts."""
    size, row, column = texel_index(avatar.binding)
    picture = avatar.canonical.colors.new_zeros(4, size, size)
    picture[:3, row, column] = avatar.canonical.colors.T
    picture[3, row, column] = 1.0
    return picture


def edit_from_map(avatar: Avatar, painted: Tensor) -> tuple[Avatar, Tensor]:
    """Carries a painted colour map over to the avatar.

    Only texels whose 8-bit colour differs from the avatar's own map take the new colour.

    Args:
        avatar: without batch axes.
        painted: [3 S S] or [4 S S], an edit of `colour_map`; alpha is not looked at.

    Returns:
        The edited avatar, and the region [N] that was changed.

    Raises:
        InputError: the map has another size, or nothing was changed.
    """
    size, row, column = texel_index(avatar.binding)
    if tuple(painted.shape[-2:]) != (size, size):
        raise InputError(
            f"the painted map has {painted.shape[-1]} x {painted.shape[-2]} pixels, "
            f"the avatar's {size} x {size}"
        )
    ours, theirs = (torch.from_numpy(to_uint8(p[:3])) for p in (colour_map(avatar), painted))
    place = row.cpu(), column.cpu()
    region = (ours[place] != theirs[place]).any(-1).to(avatar.device)
    if not region.any():
        raise InputError("the painted map is the avatar's own: nothing was changed")
    painted_colours = painted[:3].to(avatar.canonical.colors)[:, row, column].T
    colours = torch.where(region[:, None], painted_colours, avatar.canonical.colors)
    return avatar.replace(canonical=avatar.canonical.replace(colors=colours)), region
