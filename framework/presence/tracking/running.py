"""Tracks a picture and writes the results: what `tools/track.py` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presence.bodies import load_body
from presence.io.images import save_png
from presence.rasterize import build_rasterizer
from presence.registry import TRACKERS
from presence.structures import Portrait, Tracking
from presence.tracking.files import save_tracking
from presence.tracking.overlay import draw_overlay


def track_picture(
    portrait: Portrait,
    tracker: Mapping[str, Any],
    out: str | Path,
    *,
    overlay: str | Path | None = None,
    mask: str | Path | None = None,
) -> Tracking:
    """Tracks one portrait and writes the tracking and, if asked, pictures.

    Args:
        portrait: unbatched.
        tracker: config of a tracker that has `track`.
        out: tracking file (.npz).
        overlay: picture (.png) of the body over the portrait.
        mask: picture (.png) of the person's mask.

    Raises:
        InputError: nobody, or nothing usable, is in the picture.
    """
    body = load_body("annyx")
    built = TRACKERS.build(tracker, body=body)
    cut_out, tracking = built.track(portrait)
    if overlay is not None:
        mesh = body(tracking.body)
        topology, rasterizer = body.topology, build_rasterizer("cpu")
        save_png(overlay, draw_overlay(portrait, mesh, tracking.camera, topology, rasterizer))
    if mask is not None:
        save_png(mask, cut_out.alpha)
    save_tracking(out, tracking, body_name=body.name)
    return tracking
