"""The square window around the person that the model sees, cut out with its camera."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from presence.errors import InputError
from presence.structures import Camera, Portrait

MARGIN = 0.08
"""Space around the person on sides where the picture has room, as a share of the window."""
MIN_PERSON = 32
"""Smallest long side of the person's mask, px, from which an avatar is built."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A square of a picture, in whole pixels; it may leave the picture.

    Attributes:
        left: first column.
        top: first row.
        side: pixels.
    """

    left: int
    top: int
    side: int


def frame_portrait(
    portrait: Portrait, camera: Camera, size: int = 512
) -> tuple[Portrait, Camera, Window]:
    """Cuts the square around the person and scales it, picture and camera alike.

    Where the picture cuts the person off (usually below), the window ends there too, as in the
    pictures that models are trained on. Where the window leaves the picture, colours repeat the
    border and the mask is 0, so nothing there counts as seen.

    Args:
        portrait: a picture with the person's mask, without batch axes.
        camera: its camera.
        size: side of the result, px.

    Returns:
        The square portrait, its camera, and the window in pixels of the given picture.

    Raises:
        InputError: the mask is empty or tiny.
    """
    window = person_window(portrait)
    square = camera.cropped(window.left, window.top, window.side, window.side)
    return cut_window(portrait, window, size), square.resized(size, size), window


def person_window(portrait: Portrait) -> Window:
    """Finds the square around the mask of a portrait; see `frame_portrait`."""
    height, width = portrait.size
    seen = portrait.alpha[0] >= 0.5
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    if not len(rows) or max(len(rows), len(columns)) < MIN_PERSON:
        raise InputError("the person's mask is empty or tiny: nobody large enough in the picture")
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    side = round(max(bottom - top, right - left) * (1 + 2 * MARGIN))
    # A window a little larger than the picture would only add a strip without content.
    side = min(side, max(height, width)) if side > min(height, width) else side
    return Window(_place(left, right, side, width), _place(top, bottom, side, height), side)


def cut_window(portrait: Portrait, window: Window, size: int) -> Portrait:
    """Cuts a window out of a portrait and scales it to `size` x `size` pixels, antialiased."""
    height, width = portrait.size
    device = portrait.device
    rows = torch.arange(window.top, window.top + window.side, device=device)
    columns = torch.arange(window.left, window.left + window.side, device=device)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    rgb = portrait.rgb[:, rows][:, :, columns]
    alpha = portrait.alpha[:, rows][:, :, columns] * inside
    both = torch.cat([rgb, alpha])[None]
    scaled = F.interpolate(both, (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)
    return Portrait(scaled[:3], scaled[3:])


def _place(low: int, high: int, side: int, extent: int) -> int:
    """First pixel of a window of `side` around low..high in a picture of `extent` pixels."""
    edge = 0.01 * extent
    start = round((low + high - side) / 2)
    if side >= extent:  # the picture lies wholly inside: flush where the person is cut off
        if high >= extent - edge and low > edge:
            return extent - side
        return 0 if low <= edge and high < extent - edge else round((extent - side) / 2)
    return min(max(start, 0), extent - side)
