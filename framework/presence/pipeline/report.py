"""What a reconstruction's `report.json` says: figures, times, and what each part used."""

from __future__ import annotations

import json
import logging
import math
import platform
from collections.abc import Mapping
from typing import Any

import torch

from presence import __version__
from presence.structures import Portrait, Rendering

_log = logging.getLogger(__name__)


def picture_metrics(rendering: Rendering, portrait: Portrait) -> dict[str, Any]:
    """Measures PSNR, SSIM and LPIPS (squeeze) of the person, over white, inside the mask.

    The mask is the union of both alphas, as everywhere in this project (`compare_views`).
    `psnr_grey` and `psnr_black` are over those instead, `psnr_inside` is away from both outlines.
    `psnr_portrait` is the PSNR inside the portrait's own mask alone, where nothing that the
    rendering adds beside the person counts.

    Args:
        rendering: drawn over black, without batch axes.
        portrait: the framed portrait.

    Returns:
        Metric name to value; a metric that cannot be computed here is None, with the reason
        under `missing`.
    """
    from presence.evaluation import LPIPS, PSNR, SSIM, PSNRInside, PSNROver, compare_views
    from presence.evaluation.metrics import psnr

    comparison = compare_views(rendering.unsqueeze(), portrait.unsqueeze())
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}
    backgrounds = PSNROver(0.5), PSNROver(0.0)
    for metric in (PSNR(), *backgrounds, PSNRInside(), SSIM(), LPIPS("squeeze")):
        reason = metric.missing()
        if reason:
            values[metric.name], missing[metric.name] = None, reason
            _log.warning("metric %s is not computed: %s", metric.name, reason)
            continue
        values.update({name: float(v[0]) for name, v in comparison.measure([metric]).items()})
    own = portrait.unsqueeze().alpha >= 0.5
    values["psnr_portrait"] = float(psnr(comparison.prediction, comparison.target, own)[0])
    return {**values, "lpips_net": "squeeze", "missing": missing}


def components(model: Any, tracker: object, renderer: object) -> dict[str, str]:
    """Returns what each part of the pipeline was, by name."""

    def name(part: object) -> str:
        return "none" if part is None else type(part).__name__

    return {
        "tracker": name(tracker),
        "body": str(model.body.name),
        "encoder": name(getattr(model, "encoder", None)),
        "projector": name(getattr(model, "projector", None)),
        "decoder": name(getattr(model, "decoder", None)),
        "renderer": name(renderer),
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Returns the versions and the device that a report's times belong to."""
    cuda = device.type == "cuda"
    return {
        "presence": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
    }


def to_json(report: Mapping[str, Any]) -> str:
    """Writes a report as JSON; numbers that are not finite become null."""
    return json.dumps(_plain(report), indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value
