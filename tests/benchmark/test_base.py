"""A config's `benchmark` section is built from the registry and run into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from presence.benchmark import Benchmark, BenchmarkReport, run_benchmark
from presence.config import load_config
from presence.errors import ConfigError
from presence.registry import BENCHMARKS


@pytest.fixture
def counter():
    """A benchmark that writes how far it counted, and which folder its config lies in."""

    @BENCHMARKS.register()
    class Counter(Benchmark):
        def __init__(self, upto: int, folder: Path) -> None:
            self.upto, self.folder = upto, folder

        def run(self, out: Path) -> BenchmarkReport:
            out.mkdir(parents=True, exist_ok=True)
            file = out / "count.txt"
            file.write_text(f"{self.upto} {self.folder}")
            return BenchmarkReport(f"counted to {self.upto}", (file,))

    yield
    BENCHMARKS.module_dict.pop("Counter")


def test_a_section_is_built_and_run(counter, tmp_path):
    path = tmp_path / "count.py"
    path.write_text("benchmark = dict(type='Counter', upto=3)\n")

    report = run_benchmark(load_config(path, ["benchmark.upto=5"]), tmp_path / "out")

    assert report.table == "counted to 5"
    assert [file.read_text() for file in report.files] == [f"5 {tmp_path}"]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("model = dict()", "no `benchmark` section"),
        ("benchmark = dict(type='Countre')", "Did you mean `Counter`"),
        ("benchmark = dict(type='Counter', up_to=3)", "Did you mean `upto`"),
    ],
)
def test_what_is_not_there_is_said(counter, tmp_path, text, complaint):
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        run_benchmark(load_config(path), tmp_path / "out")
