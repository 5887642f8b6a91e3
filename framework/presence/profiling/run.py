"""`profile`: all parts of a config's profile, each kept apart from the others' failures."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from presence.engine import provenance
from presence.engine.checkpoint import build_model
from presence.engine.distributed import Process, joined_process
from presence.errors import check_known
from presence.io.atomic import write_text
from presence.pipeline.player import resolve_device
from presence.profiling.animate import animate_stages
from presence.profiling.rates import Rates, measure_rates
from presence.profiling.reconstruct import reconstruct_stages
from presence.profiling.report import HEADER, Stage, line
from presence.profiling.train import train_stages

_log = logging.getLogger(__name__)
PARTS = ("reconstruct", "animate", "train")


def profile(
    config: Any,
    *,
    device: str = "cuda",
    iterations: int = 20,
    out: str | Path | None = None,
    parts: Sequence[str] = PARTS,
    size: int | None = None,
    batch: int | None = None,
    compile: str = "default",
    launcher: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures a config's model with random weights and made-up pictures.

    Every row is said as soon as it is known, and the file is written anew after each. A part that
    fails becomes a row with its problem.

    Args:
        config: what `load_config` returned.
        device: "cuda" or "cpu".
        iterations: timed calls of each stage, fewer for slow ones.
        out: JSON file to write.
        parts: of `PARTS`.
        size: side of the portraits in px; by default the data set's.
        batch: samples of a training step; by default the config's.
        compile: "none", "default" or "max-autotune", for the reconstruction session.
        launcher: "pytorch" under torchrun: training steps exchange gradients, and process 0 speaks.
        say: receives lines of text.

    Returns:
        dict(rates, rows, ...), as written.

    Raises:
        ConfigError: a part, device or compile mode that does not exist.
    """
    for part in parts:
        check_known("part", part, PARTS)
    check_known("compile mode", compile, ("none", "default", "max-autotune"))
    with joined_process(str(resolve_device(device)), launcher) as process:
        return _profile(config, process, iterations, out, parts, size, batch, compile, say)


def _profile(
    config: Any,
    process: Process,
    iterations: int,
    out: str | Path | None,
    parts: Sequence[str],
    size: int | None,
    batch: int | None,
    compile: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    place = process.device
    if not process.is_main:
        out, say = None, _silent
    data = (config.get("data") or {}).get("train") or {}
    size = size or data.get("size", 512)
    batch = batch or (config.get("schedule") or {}).get("batch_size", 8)
    rates = measure_rates(place)
    say(f"{rates.device}: {rates.flops / 1e12:.4g} TFLOP/s ({rates.dtype} product), "
        f"{rates.bytes / 1e9:.4g} GB/s (copy)")  # fmt: skip
    say(HEADER)
    torch.manual_seed(0)
    model = build_model(config["model"]).to(place)
    runs: dict[str, Callable[[], Iterator[Stage]]] = dict(
        reconstruct=lambda: reconstruct_stages(
            model, size=size, device=place, repeats=iterations, compile=compile, say=say
        ),
        animate=lambda: animate_stages(model, device=place, repeats=5 * iterations, say=say),
        train=lambda: train_stages(
            model,
            config,
            size=size,
            batch=batch,
            device=place,
            repeats=max(3, iterations // 2),
            say=say,
            world=process.world,
        ),
    )
    result: dict[str, Any] = dict(
        config=Path(getattr(config, "filename", None) or "config").name,
        size=size,
        rates=vars(rates),
        provenance=provenance.describe(),
        rows=[],
    )
    for part in parts:
        for row in _rows(part, runs[part], rates):
            result["rows"].append(row)
            say(line(row))
            if out is not None:
                write_text(Path(out), json.dumps(result, indent=1, default=str))
        if place.type == "cuda":
            torch.cuda.empty_cache()
    return result


def _silent(text: str) -> None:
    """Says nothing."""


def _rows(part: str, run: Callable[[], Iterator[Stage]], rates: Rates) -> Iterator[dict[str, Any]]:
    """The rows of one part; what goes wrong is the last of them."""
    try:
        for stage in run():
            yield stage.row(rates)
    except Exception as error:  # the other parts should still be measured
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _log.warning("%s", traceback.format_exc())
        yield dict(part=part, stage="failed", problem=f"{type(error).__name__}: {reason}")
