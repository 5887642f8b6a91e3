"""The default tracker on rendered people whose bodies are known.

`python tools/benchmark.py configs/benchmarks/tracking.py --out DIR`
"""

_base_ = ["../_base_/runtime.py"]

benchmark = dict(type="TrackingAccuracy", people=200)
