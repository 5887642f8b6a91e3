"""The tracker that is taken wherever none is named: tools, pipeline, data sets and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_TRACKER = "FusedTracker"
"""Chooses among the estimators whose files are there; without any it is `MediaPipeTracker`."""


def tracker_config(tracker: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns a tracker's config, the default one's where none is given.

    Example:
        >>> tracker_config()
        {'type': 'FusedTracker'}
    """
    return dict(tracker or {"type": DEFAULT_TRACKER})
