"""Tracking together with the person's mask, whatever the tracker and the picture bring along."""

from __future__ import annotations

from presence.errors import InputError
from presence.interfaces import Tracker
from presence.io.images import has_cutout
from presence.structures import Portrait, Tracking


def track_cut_out(tracker: Tracker, portrait: Portrait) -> tuple[Portrait, Tracking]:
    """Returns the portrait with the person's mask, and the tracking.

    A mask that came with the picture is kept. A tracker that only implements `Tracker`, without
    `track`, gives no mask, so then the picture has to bring one.

    Raises:
        InputError: nobody is in the picture, or neither tracker nor picture has a mask.
    """
    if hasattr(tracker, "track"):
        tracked, tracking = tracker.track(portrait)
    else:
        tracked, tracking = portrait, tracker(portrait)
    if has_cutout(portrait):
        tracked = tracked.replace(alpha=portrait.alpha)
        note = "the mask is the picture's own transparency"
        tracking = tracking.replace(notes=(*tracking.notes, note))
    elif not has_cutout(tracked):
        raise InputError(
            f"tracker {type(tracker).__name__} gives no mask: "
            "use a picture whose background is transparent"
        )
    return tracked, tracking
