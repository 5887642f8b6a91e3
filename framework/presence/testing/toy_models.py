"""A model of a ball for tests of decoders: nothing of it but the decoder does much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from presence.registry import BODIES
from presence.testing.toy_bodies import SphereBody


def ball_config(decoder: Mapping[str, Any], *, rings: int) -> dict[str, Any]:
    """Returns the `model` config of a decoder on maps of 64 texels a side.

    Args:
        decoder: its config.
        rings: of the ball's mesh, which has twice as many segments.
    """
    if "SphereBody" not in BODIES.module_dict:
        BODIES.register()(SphereBody)
    return dict(
        body=dict(type="SphereBody", rings=rings, segments=2 * rings),
        map_size=64,
        rasterizer=dict(type="CPURasterizer"),
        encoder=dict(
            type="CompactEncoder",
            widths=(4, 4, 4),
            conv_blocks=(0, 0),
            attention_blocks=0,
            heads=1,
            out_channels=4,
        ),
        projector=dict(type="DualUVProjector", core_size=16, shell_size=8),
        decoder=dict(decoder),
        renderer=dict(type="CPURenderer"),
        reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
    )
