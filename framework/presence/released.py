"""Where the weights are that ship with the project."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "dualuv_halfbody.safetensors"
"""Of the default model, in the source tree; they carry their config."""
