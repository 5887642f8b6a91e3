"""What every benchmark is: built from a config's `benchmark` section, run into a folder."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presence.errors import ConfigError
from presence.registry import BENCHMARKS


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """What a benchmark measured and wrote.

    Attributes:
        table: the result as Markdown, to print.
        files: what was written, the most telling first.
        failures: part to the reason why it has no result.
    """

    table: str
    files: tuple[Path, ...] = ()
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Benchmark(ABC):
    """A comparison that a config describes; register subclasses in `BENCHMARKS`.

    A constructor takes the options of the config's `benchmark` section, and by name what
    `run_benchmark` offers besides: `config`, the whole config, and `folder`, where it lies, for
    paths that are relative to it.
    """

    @abstractmethod
    def run(self, out: Path) -> BenchmarkReport:
        """Measures and writes into `out`; what is there already is continued.

        Raises:
            ConfigError: an option does not fit; said before anything is measured.
        """


def run_benchmark(config: Mapping[str, Any], out: str | Path) -> BenchmarkReport:
    """Builds the benchmark of a config and runs it.

    Args:
        config: what `presence.config.load_config` returned; its `benchmark` section names a
            class of `BENCHMARKS` and its options.
        out: folder to write.

    Raises:
        ConfigError: there is no such section, class or option.
    """
    section = config.get("benchmark")
    if not section:
        raise ConfigError(
            f"config {getattr(config, 'filename', None) or ''} has no `benchmark` section"
        )
    folder = Path(getattr(config, "filename", None) or "config").parent
    benchmark = BENCHMARKS.build(section, config=config, folder=folder)
    return benchmark.run(Path(out))
