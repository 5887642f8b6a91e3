"""The rows of a sweep: which config, with which changes and seeds, under which budget."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from presence.config import load_config
from presence.engine.checkpoint import config_to_plain
from presence.engine.settings import TrainSettings, read_section
from presence.errors import ConfigError

# What a run computes does not depend on these sections: changing them reruns nothing.
_TRANSIENT = ("logging", "checkpoints", "prefetch", "workers", "pipeline", "benchmark")


@dataclasses.dataclass(frozen=True)
class Row:
    """One method of a sweep.

    Attributes:
        config: config file, relative to the benchmark's.
        overrides: `key=value` changes to it.
        seeds: one run a seed.
        weights: a file to evaluate instead of training, relative to the benchmark's config.
        weights_of: another row, whose weights of the same seeds are measured with this config; for
            what changes after training alone. `seeds` then plays no part.
        train: False for methods that learn nothing.
        paper: the method's name in the paper's tables.
    """

    config: str
    overrides: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    weights: str | None = None
    weights_of: str | None = None
    train: bool = True
    paper: str | None = None

    @property
    def trains(self) -> bool:
        """Whether a training belongs to it."""
        return self.train and self.weights is None and self.weights_of is None

    @property
    def given(self) -> bool:
        """Whether its weights come from a file."""
        return self.weights is not None


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every row may spend on training; exactly one of the two is given.

    Attributes:
        samples: reference-target pairs seen.
        seconds: training time; a short trial run tells how many steps fit.
    """

    samples: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError unless exactly one is given, above zero."""
        given = [value for value in (self.samples, self.seconds) if value is not None]
        if len(given) != 1 or given[0] <= 0:
            raise ConfigError(
                "benchmark.budget takes either samples or seconds, above 0; got "
                f"samples={self.samples}, seconds={self.seconds}"
            )


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of one row: everything that a process needs, as plain values.

    Attributes:
        name: the row's name.
        seed: of this run.
        config: the whole config with all changes.
        budget: of the training, `samples` or `seconds`.
        points: validations while training, the learning curve.
        train: whether anything is learned.
        weights: file to evaluate instead of training, absolute.
        protocol: what is measured; see `presence.benchmark.measure.Protocol`.
    """

    name: str
    seed: int
    config: dict[str, Any]
    budget: dict[str, Any]
    points: int
    train: bool
    weights: str | None
    protocol: dict[str, Any]

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', self.name)}-seed{self.seed}"

    @property
    def training_print(self) -> str:
        """Fingerprint of what decides the weights and the learning curve."""
        kept = {key: value for key, value in self.config.items() if key not in _TRANSIENT}
        return fingerprint(kept, self.budget, self.points, self.train, _stamp(self.weights))

    @property
    def result_print(self) -> str:
        """Fingerprint of what decides the figures."""
        return fingerprint(self.training_print, self.protocol)

    @property
    def batch_size(self) -> int:
        """Samples of a training step."""
        return TrainSettings.from_config(self.config).schedule.batch_size

    def training_config(self, iterations: int) -> dict[str, Any]:
        """Returns the config of a training of that length.

        The warm-up keeps its share of the schedule; validations are spread evenly.
        """
        settings = TrainSettings.from_config(self.config)
        share = settings.schedule.warmup / settings.schedule.iterations
        schedule = dict(
            self.config.get("schedule") or {},
            iterations=iterations,
            warmup=round(share * iterations),
        )
        has_source = (self.config.get("data") or {}).get("val") is not None
        validation = dict(
            self.config.get("validation") or {},
            interval=math.ceil(iterations / self.points) if self.points and has_source else 0,
            at_start=False,
        )
        return {**self.config, "schedule": schedule, "validation": validation}


def fingerprint(*values: Any) -> str:
    """Returns 16 hexadecimal digits that differ where plain values do.

    Example:
        >>> fingerprint(dict(a=1, b=2)) == fingerprint(dict(b=2, a=1))
        True
        >>> fingerprint(dict(a=1)) == fingerprint(dict(a=2))
        False
    """
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_rows(rows: Mapping[str, Any]) -> dict[str, Row]:
    """Reads the `rows` of a sweep: name to options; a row that is None is left out.

    Raises:
        ConfigError: no row, or an unknown option.
    """
    read = {
        name: read_section(Row, options, f"benchmark.rows.{name}")
        for name, options in rows.items()
        if options is not None
    }
    if not read:
        raise ConfigError("benchmark.rows names no method")
    for name, row in read.items():
        if isinstance(row.overrides, str) or isinstance(row.seeds, int):
            raise ConfigError(f"benchmark.rows.{name}: overrides and seeds are lists")
        other = row.weights_of
        if other is not None and (other not in read or read[other].weights_of is not None):
            raise ConfigError(
                f"benchmark.rows.{name}: weights_of names a row that is trained, got `{other}`"
            )
    return read


def plan(
    name: str,
    row: Row,
    seeds: Sequence[int],
    *,
    folder: Path,
    budget: Budget | None,
    protocol: Mapping[str, Any],
    overrides: Sequence[str] = (),
    pictures: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    curve: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> Iterator[Job]:
    """Yields the runs of a row, one a seed.

    Args:
        name: the row's name.
        row: what to run.
        seeds: of the runs.
        folder: where the benchmark's config lies.
        budget: of each run that trains; None where there is none.
        protocol: what is measured.
        overrides: `key=value` changes to the config of every row.
        pictures: options that replace those of every data set that has a `size`.
        batch_size: samples a step of every row; None leaves the configs' own.
        curve: `points` and `subjects` of the learning curve, and the `data` that it is measured
            on; each config's own `data.val` by default.
        weights: file to measure instead of training, in place of the row's.

    Raises:
        ConfigError: a config cannot be read or a change names an unknown key.
    """
    path, curve = folder / row.config, dict(points=0, subjects=8, data=None) | dict(curve or {})
    plain = config_to_plain(load_config(path, [*overrides, *row.overrides]))
    plain.pop("benchmark", None)
    _set_sizes(plain.get("data"), pictures or {})
    if curve["data"] is not None:
        plain["data"] = dict(plain.get("data") or {}, val=config_to_plain(curve["data"]))
    plain["plugins"] = [str((path.parent / file).resolve()) for file in plain.get("plugins", ())]
    if batch_size is not None:
        plain["schedule"] = dict(plain.get("schedule") or {}, batch_size=batch_size)
    plain["validation"] = dict(plain.get("validation") or {}, subjects=curve["subjects"])
    for seed in seeds:
        plain["seed"] = int(seed)
        TrainSettings.from_config(plain)
        yield Job(
            name=name,
            seed=int(seed),
            config=_as_json(plain),
            budget={} if budget is None else dataclasses.asdict(budget),
            points=curve["points"],
            train=row.train and row.weights is None and weights is None,
            weights=weights or (row.weights and str((folder / row.weights).resolve())),
            protocol=_as_json(protocol),
        )


def _as_json(values: Any) -> Any:
    """A copy as JSON gives it back, so that a fingerprint survives the file."""
    return json.loads(json.dumps(values))


def _set_sizes(data: Any, pictures: Mapping[str, Any]) -> None:
    """Replaces options of every data set inside `data` that has a picture `size`."""
    if isinstance(data, Mapping):
        for value in data.values():
            _set_sizes(value, pictures)
        if "size" in data and isinstance(data, dict):
            data.update(pictures)
    elif isinstance(data, list | tuple):
        for value in data:
            _set_sizes(value, pictures)


def _stamp(path: str | None) -> Any:
    """What changes when a file of weights does."""
    if path is None or not Path(path).is_file():
        return path
    status = Path(path).stat()
    return [path, status.st_size, status.st_mtime_ns]
