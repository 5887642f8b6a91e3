"""Generated people as files: pictures, masks, parameters and one contact sheet."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from presence.errors import ConfigError, InputError
from presence.interfaces import SampleSource
from presence.io.atomic import atomic_folder, write_bytes
from presence.io.images import save_png
from presence.io.motion import PARTS
from presence.registry import DATASETS
from presence.structures import TrainSample, View

SHEET_SIDE = 192  # px, of a picture on the contact sheet
SHEET_MAX = 64  # subjects on it


def contact_sheet(
    samples: list[TrainSample], *, columns: int = 6, side: int = SHEET_SIDE
) -> Tensor:
    """Lays reference-target pairs out in rows.

    Args:
        samples: unbatched pairs.
        columns: pairs in a row.
        side: height of each picture on the sheet, px.

    Returns:
        [3 H W] picture.
    """
    pairs = [
        torch.cat([_fit(s.reference.portrait.rgb, side), _fit(s.target.portrait.rgb, side)], -1)
        for s in samples
    ]
    columns = min(columns, len(pairs))
    missing = math.ceil(len(pairs) / columns) * columns - len(pairs)
    pairs += [torch.ones_like(pairs[0])] * missing
    rows = [torch.cat(pairs[k : k + columns], -1) for k in range(0, len(pairs), columns)]
    return torch.cat(rows, -2)


def export_people(source: SampleSource, count: int, out: str | Path) -> list[Path]:
    """Writes the first `count` subjects of a source.

    Each subject gives `NNNNNN_reference.png`, `NNNNNN_target.png`, a `_mask.png` beside each,
    and `NNNNNN.npz` with SMPL-X parameter names plus `K` and `cam_from_world`, one row a view
    (reference, target). `contact_sheet.png` shows up to 64 of them.

    Args:
        source: a data set of pairs.
        count: subjects to write.
        out: folder, made if missing.

    Returns:
        The files, in order of writing.

    Raises:
        InputError: fewer than one or more than all subjects are asked for.
    """
    if not 1 <= count <= len(source):
        raise InputError(f"--subjects should be 1 to {len(source)} for this data set, got {count}")
    out = Path(out)
    shown: list[TrainSample] = []
    names: list[str] = []
    with atomic_folder(out) as folder:
        for index in tqdm(range(count), desc="people", unit="subject"):
            sample = source[index]
            names += _write(folder, sample)
            if len(shown) < SHEET_MAX:
                shown.append(sample)
        save_png(folder / "contact_sheet.png", contact_sheet(shown))
    return [out / name for name in (*names, "contact_sheet.png")]


def export_split(
    config: Mapping[str, Any], split: str, count: int, out: str | Path, *, multiview: bool = False
) -> str:
    """Writes people of a config's data split, and returns one line on what was written.

    Args:
        config: with a `data` section.
        split: entry of it.
        count: people to write.
        out: folder, made if missing.
        multiview: one folder a person, as `presence.datasets.export_source` writes them.

    Raises:
        ConfigError: the config has no such split.
        InputError: fewer than one or more than all subjects are asked for.
    """
    splits = config.get("data", {})
    if split not in splits:
        known = ", ".join(sorted(splits)) or "none"
        raise ConfigError(f"config has no data split `{split}`; it has: {known}")
    source = DATASETS.build(splits[split])
    if multiview:
        from presence.datasets import export_source  # which imports this package

        people = export_source(source, count, out)
        return f"wrote {len(people)} people to {out}, such as {people[0]}"
    files = export_people(source, count, out)
    return f"wrote {len(files)} files to {out}, overview in {files[-1]}"


def _write(folder: Path, sample: TrainSample) -> list[str]:
    stem = f"{int(sample.subject):06d}"
    names = []
    for kind, view in (("reference", sample.reference), ("target", sample.target)):
        save_png(folder / f"{stem}_{kind}.png", view.portrait.rgb)
        save_png(folder / f"{stem}_{kind}_mask.png", view.portrait.alpha)
        names += [f"{stem}_{kind}.png", f"{stem}_{kind}_mask.png"]
    memory = io.BytesIO()
    rows = [_parameters(view) for view in (sample.reference, sample.target)]
    np.savez_compressed(memory, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})
    write_bytes(folder / f"{stem}.npz", memory.getvalue())
    return [*names, f"{stem}.npz"]


def _parameters(view: View) -> dict[str, np.ndarray]:
    body = view.body
    pose = {name: body.pose[part].flatten() for name, part in PARTS.items()}
    rest = {
        "betas": body.betas,
        "expression": body.expression,
        "transl": body.translation,
        "K": view.camera.K,
        "cam_from_world": view.camera.cam_from_world,
    }
    return {name: value.cpu().numpy() for name, value in (pose | rest).items()}


def _fit(picture: Tensor, side: int) -> Tensor:
    width = max(1, round(picture.shape[-1] * side / picture.shape[-2]))
    return torch.nn.functional.interpolate(
        picture[None], size=(side, width), mode="bilinear", antialias=True, align_corners=False
    )[0]
