"""`MethodSweep`: methods under one budget and one protocol, put side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from presence.benchmark.base import Benchmark, BenchmarkReport
from presence.benchmark.launch import Launcher, launch, only_one
from presence.benchmark.measure import Protocol
from presence.benchmark.paper import read_columns
from presence.benchmark.results import Method, Run, absent, ranking
from presence.benchmark.rows import Budget, Job, Row, plan, read_rows
from presence.benchmark.worker import read_result, write_job
from presence.engine.settings import read_section
from presence.engine.trainer import WEIGHTS
from presence.errors import ConfigError
from presence.registry import BENCHMARKS

_log = logging.getLogger(__name__)


@BENCHMARKS.register()
class MethodSweep(Benchmark):
    """Trains rows under an equal budget and measures all of them alike.

    Each run has a folder in `rows/` with its log, checkpoints, pictures and `result.json`. A run
    whose result has the fingerprint of what the config asks for is skipped; one that was killed
    goes on at its last checkpoint; where only the protocol changed, or a set was not there,
    nothing is trained again.

    Args:
        rows: name to the options of `presence.benchmark.rows.Row`; a row that is None is left out.
        protocol: options of `presence.benchmark.measure.Protocol`.
        budget: `samples` or `seconds` of training, for each run; None where no row is trained.
        overrides: `key=value` changes to the config of every row.
        pictures: options for every training and validation set that has a `size`, such as `size`.
        batch_size: samples a step of every row; None leaves the configs' own.
        curve: `points` and `subjects` of the learning curve, and the `data` that it is measured
            on; each config's own `data.val` by default.
        repeat_best: `count` methods, the best in `by` ("set/view/metric"), also get `seeds`.
        launcher: "auto", "local" or "ray".
        gpus: values of CUDA_VISIBLE_DEVICES, one run at a time each; all GPUs if None.
        address: of a Ray cluster whose machines all see the folder that is written.
        title: of the report.
        notes: paragraphs for the report.
        paper_columns: set to columns of the paper's Table 1 shown beside it; by default those that
            fit sets called head, half and full.
        config: the whole config.
        folder: where it lies.
    """

    def __init__(
        self,
        rows: Mapping[str, Any],
        protocol: Mapping[str, Any],
        *,
        budget: Mapping[str, Any] | None = None,
        overrides: Sequence[str] = (),
        pictures: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        curve: Mapping[str, Any] | None = None,
        repeat_best: Mapping[str, Any] | None = None,
        launcher: Launcher = "auto",
        gpus: Sequence[str | int] | None = None,
        address: str | None = None,
        title: str = "Method sweep",
        notes: Sequence[str] = (),
        paper_columns: Mapping[str, Sequence[str]] | None = None,
        config: Any = None,
        folder: Path = Path(),
    ) -> None:
        self.rows = read_rows(rows)
        self.budget = None if budget is None else read_section(Budget, budget, "benchmark.budget")
        trained = [name for name, row in self.rows.items() if row.trains]
        if trained and self.budget is None:
            raise ConfigError(f"benchmark.budget is missing, and row `{trained[0]}` is trained")
        self.protocol = dict(protocol)
        Protocol.read(self.protocol)
        self.repeat = dict(repeat_best or {})
        if set(self.repeat) - {"count", "seeds", "by"}:
            raise ConfigError("benchmark.repeat_best takes count, seeds and by")
        if launcher not in ("auto", "local", "ray"):
            raise ConfigError(f"unknown launcher `{launcher}`. Available: auto, local, ray.")
        self.launching: dict[str, Any] = dict(
            launcher=launcher, address=address, gpus=None if gpus is None else list(map(str, gpus))
        )
        self.title, self.notes = title, list(notes)
        self.paper_columns = read_columns(paper_columns)
        self.source = getattr(config, "filename", None)
        self.planning: dict[str, Any] = dict(
            folder=folder,
            budget=self.budget,
            protocol=self.protocol,
            overrides=overrides,
            pictures=pictures,
            batch_size=batch_size,
            curve=curve,
        )

    def run(self, out: Path) -> BenchmarkReport:
        """Runs what is not finished in `out`, and writes the report after every run."""
        started = time.monotonic()
        own = {name: row for name, row in self.rows.items() if row.weights_of is None}
        jobs = [job for name, row in own.items() for job in self._plan(name, row, row.seeds)]
        for name in self.rows.keys() - own:  # only to say what is wrong before anything runs
            list(self._plan(name, self.rows[name], [0]))
        with only_one(out):
            runs = self._run(jobs, [], out)
            extra = list(self._extra_jobs(self.methods(runs)))
            runs = self._run([*extra, *self._borrow(runs, out)], runs, out)
            runs = self._run(list(self._borrow(runs, out)), runs, out)
            _log.info("the sweep took %.1f minutes", (time.monotonic() - started) / 60)
            return self._report(runs, out)

    def methods(self, runs: Sequence[Run]) -> list[Method]:
        """Puts runs together by row, in the order of the config."""
        return [
            Method(name, row.paper, [r for r in runs if r.job.name == name], row.given)
            for name, row in self.rows.items()
        ]

    def _plan(self, name: str, row: Row, seeds: Sequence[int], **options: Any) -> Iterator[Job]:
        return plan(name, row, seeds, **self.planning, **options)

    def _borrow(self, runs: Sequence[Run], out: Path) -> Iterator[Job]:
        """Jobs that measure the weights of other rows' runs, but for those that were run."""
        known = {run.job.folder for run in runs}
        for name, row in self.rows.items():
            for run in runs if row.weights_of is not None else ():
                weights = out.resolve() / "rows" / run.job.folder / "work" / WEIGHTS
                if run.job.name == row.weights_of:
                    jobs = self._plan(name, row, [run.job.seed], weights=str(weights))
                    yield from (job for job in jobs if job.folder not in known)

    def _extra_jobs(self, methods: Sequence[Method]) -> Iterator[Job]:
        """Further seeds for the best methods, but for those that they have."""
        if not self.repeat:
            return
        name, view, metric = self.repeat.get("by", "half/novel/psnr").split("/")
        best = ranking(methods, "sets", name, "means", f"{view}/{metric}")
        for method in best[: self.repeat.get("count", 2)]:
            row = self.rows[method.name]
            seeds = [s for s in self.repeat.get("seeds", (1,)) if s not in row.seeds]
            yield from self._plan(method.name, row, seeds)

    def _run(self, jobs: Sequence[Job], before: Sequence[Run], out: Path) -> list[Run]:
        """Returns the runs `before` and those of the jobs, which are run unless finished."""
        folders = {out / "rows" / job.folder: job for job in jobs}
        if len(folders) < len(jobs):
            raise ConfigError("two runs of benchmark.rows have one name and seed")
        runs = {
            folder: Run(job, _finished(folder, job), "not run yet")
            for folder, job in folders.items()
        }
        waiting = [folder for folder, run in runs.items() if not _complete(run)]
        for folder in waiting:
            write_job(folder, folders[folder])
        if len(waiting) < len(jobs):
            _log.info("%d of %d runs are finished already", len(jobs) - len(waiting), len(jobs))
        started = time.monotonic()
        launched = launch(waiting, **self.launching) if waiting else ()
        for number, (folder, reason) in enumerate(launched, 1):
            job = folders[folder]
            runs[folder] = Run(job, _finished(folder, job), reason)
            minutes = (time.monotonic() - started) / 60
            left = minutes / number * (len(waiting) - number)
            what = f"failed: {reason}" if reason else "done"
            _log.info("%d/%d %s seed %d %s (%.1f min, about %.1f min left)",
                      number, len(waiting), job.name, job.seed, what, minutes, left)  # fmt: skip
            self._report([*before, *runs.values()], out)
        return [*before, *runs.values()]

    def _report(self, runs: Sequence[Run], out: Path) -> BenchmarkReport:
        from presence.benchmark.report import write_report

        failures = {
            f"{run.job.name} seed {run.job.seed}": run.reason or "no result"
            for run in runs
            if run.result is None
        }
        methods = self.methods(runs)
        failures |= {f"set {name}": reason for name, reason in absent(methods).items()}
        table, files = write_report(
            out,
            methods,
            title=self.title,
            notes=self.notes,
            source=self.source,
            failures=failures,
            paper_columns=self.paper_columns,
        )
        return BenchmarkReport(table, tuple(files), failures)


def _complete(run: Run) -> bool:
    """Whether a run has a result on every set."""
    return run.result is not None and not run.result.get("absent")


def _finished(folder: Path, job: Job) -> Mapping[str, Any] | None:
    """A run's result if it is complete and of this very job."""
    result = read_result(folder)
    if result is None or result["status"] != "done" or result["fingerprint"] != job.result_print:
        return None
    return result
