"""Feedback from the portrait: the avatar is drawn once more, and what differs goes back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from presence.errors import ConfigError
from presence.models.feedback.base import Feedback, FeedbackChain
from presence.models.feedback.colours import ColourFeedback
from presence.models.feedback.geometry import GeometryFeedback
from presence.projection import SurfaceMap

__all__ = ["ColourFeedback", "Feedback", "FeedbackChain", "GeometryFeedback", "build_feedback"]


def build_feedback(cfg: Mapping[str, Any] | None, surface: SurfaceMap) -> FeedbackChain:
    """Builds a config's `model.feedback`: geometry first, since colours depend on where it is.

    Args:
        cfg: dict(geometry=options, colours=options); a part that is missing or None is left out.
        surface: the texels of the model's attribute maps.

    Raises:
        ConfigError: a part or an option is unknown.
    """
    given = dict(cfg or {})
    geometry, colours = given.pop("geometry", None), given.pop("colours", None)
    if given:
        raise ConfigError(
            f"model.feedback has no part `{next(iter(given))}`; it has `geometry` and `colours`"
        )
    built: list[Feedback] = []
    try:
        if geometry is not None:
            built.append(GeometryFeedback(surface, **geometry))
        if colours is not None:
            built.append(ColourFeedback(**colours))
    except TypeError as error:
        raise ConfigError(f"model.feedback: {error}") from error
    return FeedbackChain(built)
