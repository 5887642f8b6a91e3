"""The test run of a config: table, JSON and pictures; the library call of tools/test.py."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.evaluation.evaluator import Evaluation, evaluate
from presence.evaluation.report import markdown_table, write_json
from presence.structures import TrainSample

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TestReport:
    """What a test run measured and wrote.

    Attributes:
        evaluations: method name to what was measured; the config under test comes first.
        table: markdown.
        files: what was written.
    """

    __test__ = False  # its name makes pytest curious

    evaluations: dict[str, Evaluation]
    table: str
    files: tuple[Path, ...] = ()


def run_test(
    config: Any,
    weights: str | Path | None,
    *,
    out: str | Path | None = None,
    baselines: Sequence[Any] = (),
    pictures: int = 8,
    progress: bool = False,
) -> TestReport:
    """Measures a config's model, and baselines that need no weights, on `data.test`.

    All methods see the same samples, and none computes its own metrics. The protocol (metrics,
    background) is that of the config under test.

    Args:
        config: what `load_config` returned; `data.test` names the samples.
        weights: safetensors file or checkpoint; None for a model without learned parts.
        out: folder for `metrics.md`, `metrics.json` and `<method>/NNNN.png`; None writes nothing.
        baselines: further configs, such as the closed-form copy, run without weights.
        pictures: side-by-side pictures a method.
        progress: show a progress bar.

    Raises:
        ConfigError: the config has no `data.test`, or the weights do not fit.
    """
    from presence.engine import provenance
    from presence.engine.data import RememberedSource
    from presence.engine.distributed import pick_device
    from presence.engine.settings import TrainSettings
    from presence.engine.trainer import build_source, data_collaborators

    settings = TrainSettings.from_config(config)
    device = pick_device(settings.device)
    if not (config.get("data") or {}).get("test"):
        raise ConfigError("the config has no `data.test`")
    folder = None if out is None else Path(out)
    evaluations: dict[str, Evaluation] = {}
    files: list[Path] = []
    source: Any = None
    for method, chosen in zip([config, *baselines], [weights, *([None] * len(baselines))]):
        name = _unique(_method_name(method), evaluations)
        drawn = None if folder is None else _Pictures(folder / name, pictures)
        model = _prepare(method, chosen, device)
        if source is None:
            source = build_source(config, "test", **data_collaborators(model, device))
            source = RememberedSource(source, limit=128) if baselines else source
        evaluations[name] = _measure(model, source, settings, device, drawn, name, progress)
        files += drawn.files if drawn is not None else []
    table = markdown_table(evaluations)
    if folder is not None:
        about = dict(
            config=str(getattr(config, "filename", None)),
            weights=None if weights is None else str(weights),
            background=settings.validation.background,
            provenance=provenance.describe(),
        )
        files = [*_write(folder, table, evaluations, about), *files]
    return TestReport(evaluations, table, tuple(files))


class _Pictures:
    """Writes one side-by-side picture a subject, up to a number."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.files: list[Path] = []
        self.body: Any = None

    def __call__(self, sample: TrainSample, prediction: Mapping[str, Any]) -> None:
        from presence.evaluation.pictures import side_by_side

        for position in range(sample.batch_shape[0]):
            if len(self.files) >= self.limit:
                return
            one = slice(position, position + 1)
            views = {key: prediction[key][one] for key in ("reference", "target")}
            grid = side_by_side(sample[one], views, self.body)
            path = self.folder / f"{int(sample.subject[position]):06d}.png"
            _save_png(path, grid)
            self.files.append(path)


def _prepare(config: Any, weights: str | Path | None, device: torch.device) -> nn.Module:
    from presence.engine.checkpoint import build_model, load_model

    if weights is not None:
        return load_model(weights, config, device)
    return build_model(config["model"]).to(device).eval()


def _measure(
    model: nn.Module,
    source: Any,
    settings: Any,
    device: torch.device,
    pictures: _Pictures | None,
    name: str,
    progress: bool,
) -> Evaluation:
    from tqdm import tqdm

    from presence.registry import METRICS

    if pictures is not None:
        pictures.body = getattr(model, "body", None)
    bar = tqdm(total=len(source), desc=name, unit="subject", disable=not progress)

    def on_batch(sample: TrainSample, prediction: Mapping[str, Any]) -> None:
        bar.update(sample.batch_shape[0])
        if pictures is not None:
            pictures(sample, prediction)

    with bar:
        return evaluate(
            model,
            source,
            len(source),
            [METRICS.build(metric) for metric in settings.validation.protocol],
            batch_size=settings.validation.batch_size,
            device=device,
            precision=settings.precision,
            background=settings.validation.background,
            on_batch=on_batch,
        )


def _write(
    folder: Path, table: str, evaluations: Mapping[str, Evaluation], about: dict[str, Any]
) -> list[Path]:
    from presence.io.atomic import write_text

    write_text(folder / "metrics.md", table + "\n")
    return [folder / "metrics.md", write_json(folder / "metrics.json", evaluations, **about)]


def _save_png(path: Path, picture: Tensor) -> None:
    from PIL import Image

    from presence.evaluation.pictures import to_bytes
    from presence.io.atomic import atomic_file

    with atomic_file(path) as temporary:
        Image.fromarray(to_bytes(picture)).save(temporary, format="PNG")


def _method_name(config: Any) -> str:
    filename = getattr(config, "filename", None)
    return Path(filename).stem if filename else "model"


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique
