"""Benchmarks: what a config's `benchmark` section runs, and what comes out of it."""

from presence.benchmark.base import Benchmark, BenchmarkReport, run_benchmark
from presence.benchmark.sweep import MethodSweep
from presence.benchmark.tracker_map import TrackerMap
from presence.benchmark.tracking_accuracy import TrackingAccuracy
from presence.benchmark.tracking_video import TrackingVideo
from presence.benchmark.turned_accuracy import TurnedAccuracy

__all__ = [
    "Benchmark",
    "BenchmarkReport",
    "MethodSweep",
    "TrackerMap",
    "TrackingAccuracy",
    "TrackingVideo",
    "TurnedAccuracy",
    "run_benchmark",
]
