"""One protocol for every row: quality on each set of subjects, speed, and what pictures show."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from presence.benchmark.sensitivity import Sensitivity, measure_sensitivity
from presence.benchmark.subjects import Blocks
from presence.engine.settings import read_section
from presence.errors import AssetError, ConfigError, InputError
from presence.evaluation import Evaluation, composite, evaluate
from presence.evaluation.report import write_json
from presence.registry import DATASETS, METRICS
from presence.structures import TrainSample

COLUMNS = ("portrait", "input view", "true novel view", "novel view")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is measured of every row, alike.

    Attributes:
        sets: name (such as "half") to the config of a data set of held-out subjects.
        metrics: configs of registered metrics.
        background: grey level outside both masks.
        batch_size: subjects predicted at once.
        shown: subjects of each set in the picture grid.
        tile: side of a picture in the grid, px.
        sensitivity: options of `presence.benchmark.sensitivity.Sensitivity`; None leaves it out.
    """

    sets: Mapping[str, Mapping[str, Any]]
    metrics: tuple[Mapping[str, Any], ...] = (dict(type="PSNR"), dict(type="SSIM"))
    background: float = 1.0
    batch_size: int = 4
    shown: int = 3
    tile: int = 192
    sensitivity: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Protocol:
        """Reads a protocol from plain values; sets that are None are left out.

        Raises:
            ConfigError: an unknown key, or no set.
        """
        protocol = read_section(cls, values, "benchmark.protocol")
        sets = {name: config for name, config in protocol.sets.items() if config is not None}
        if not sets:
            raise ConfigError("benchmark.protocol.sets names no data set")
        protocol = dataclasses.replace(protocol, sets=sets)
        if protocol.sensitivity is not None:
            read_section(Sensitivity, protocol.sensitivity, "benchmark.protocol.sensitivity")
        return protocol


def measure(
    model: nn.Module,
    protocol: Protocol,
    folder: Path,
    *,
    device: torch.device,
    precision: str,
) -> dict[str, Any]:
    """Measures a trained model and writes `metrics.json` and a picture grid for each set.

    Args:
        model: in eval mode, on the device.
        protocol: what to measure.
        folder: where files go.
        device: where samples are made and predicted.
        precision: "bf16" predicts under autocast.

    Returns:
        Plain values: `sets` (name to means, labels, missing, subjects), `absent` (set to the reason
        why it is not here), `lower_is_better` (names of metrics), `predict_seconds` a subject, and
        `sensitivity` where it is asked for.

    Raises:
        InputError: no set is here.
    """
    metrics = [METRICS.build(metric) for metric in protocol.metrics]
    evaluations: dict[str, Evaluation] = {}
    seconds, subjects = 0.0, 0
    sources, absent = _open_sets(model, protocol, device)
    for name, source in sources.items():
        grid = _Grid(protocol)
        timed = _Timed(model, device)
        evaluations[name] = evaluate(
            timed,
            source,
            len(source),
            metrics,
            batch_size=protocol.batch_size,
            device=device,
            precision=precision,
            background=protocol.background,
            on_batch=grid,
        )
        grid.save(folder / f"{name}.jpg")
        seconds, subjects = seconds + timed.seconds, subjects + timed.subjects
    write_json(folder / "metrics.json", evaluations)
    result: dict[str, Any] = dict(
        sets={name: _summary(evaluation) for name, evaluation in evaluations.items()},
        absent=absent,
        lower_is_better=[metric.name for metric in metrics if not metric.higher_is_better],
        predict_seconds=seconds / subjects if subjects else None,
    )
    if protocol.sensitivity is not None:
        result["sensitivity"] = measure_sensitivity(
            model,
            read_section(Sensitivity, protocol.sensitivity, "sensitivity"),
            device=device,
            precision=precision,
            batch_size=protocol.batch_size,
        )
    return result


def _open_sets(
    model: nn.Module, protocol: Protocol, device: torch.device
) -> tuple[dict[str, Blocks], dict[str, str]]:
    """Opens the protocol's sets; those that are not on this machine are named with the reason.

    A set of pictures is tracked here, so that what its tracker lacks is a reason too.
    """
    from presence.engine.trainer import data_collaborators

    sources, absent = {}, {}
    for name, config in protocol.sets.items():
        try:
            data = DATASETS.build(config, **data_collaborators(model, device))
            len(data)
        except (AssetError, InputError) as error:
            absent[name] = " ".join(str(error).split())
        else:
            sources[name] = Blocks(data, size=protocol.batch_size, device=device)
    if not sources:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        raise InputError(f"no set of benchmark.protocol.sets is here: {reasons}")
    return sources, absent


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    return dict(
        means=evaluation.means,
        labels=evaluation.labels,
        missing=evaluation.missing,
        subjects=evaluation.subjects,
    )


class _Timed(nn.Module):
    """A model whose `predict` is timed; the first call, which may compile, is left out."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model, self.device = model, device
        self.body = getattr(model, "body", None)
        self.seconds, self.subjects, self._calls = 0.0, 0, 0
        self.train(model.training)

    def predict(self, sample: TrainSample) -> Any:
        """Predicts and adds the time, once the device is done."""
        predict: Any = self.model.predict
        self._wait()
        started = time.perf_counter()
        prediction = predict(sample)
        self._wait()
        self._calls += 1
        if self._calls > 1:
            self.seconds += time.perf_counter() - started
            self.subjects += sample.batch_shape[0]
        return prediction

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _Grid:
    """The first subjects of a set in rows of `COLUMNS`, kept small."""

    def __init__(self, protocol: Protocol) -> None:
        self.limit, self.tile, self.background = protocol.shown, protocol.tile, protocol.background
        self.rows: list[Tensor] = []

    def __call__(self, sample: TrainSample, prediction: Mapping[str, Any]) -> None:
        """Adds the rows of one batch, [3 tile 4*tile] each."""
        count = min(self.limit - len(self.rows), sample.batch_shape[0])
        if count <= 0:
            return
        grey = self.background
        drawn = {
            key: prediction[key].rgb + (1 - prediction[key].alpha) * grey
            for key in ("reference", "target")
        }
        columns = [
            sample.reference.portrait.rgb,
            drawn["reference"],
            composite(sample.target.portrait, grey),
            drawn["target"],
        ]
        tiles = [self._small(column[:count]) for column in columns]
        self.rows += list(torch.cat(tiles, -1))

    def save(self, path: Path) -> None:
        """Writes the grid as JPEG; nothing where no subject is shown."""
        from PIL import Image

        from presence.evaluation.pictures import to_bytes
        from presence.io.atomic import atomic_file

        if not self.rows:
            return
        with atomic_file(path) as temporary:
            picture = Image.fromarray(to_bytes(torch.cat(self.rows, -2)))
            picture.save(temporary, format="JPEG", quality=88)

    def _small(self, pictures: Tensor) -> Tensor:
        size = (self.tile, self.tile)
        small = nn.functional.interpolate(
            pictures.float().clamp(0, 1), size, mode="bilinear", antialias=True, align_corners=False
        )
        return small.cpu()
