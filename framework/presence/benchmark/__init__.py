"""Benchmarks: what a config's `benchmark` section runs, and what comes out of it."""

from presence.benchmark.base import Benchmark, BenchmarkReport, run_benchmark
from presence.benchmark.sweep import MethodSweep

__all__ = ["Benchmark", "BenchmarkReport", "MethodSweep", "run_benchmark"]
