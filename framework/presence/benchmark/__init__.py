"""Benchmarks: what a config's `benchmark` section runs, and what comes out of it."""

from presence.benchmark.base import Benchmark, BenchmarkReport, run_benchmark

__all__ = ["Benchmark", "BenchmarkReport", "run_benchmark"]
