"""Side and back views after a front view, on rendered people whose bodies are known.

`python tools/benchmark.py configs/benchmarks/tracking_turned.py --out DIR`
"""

_base_ = ["../_base_/runtime.py"]

benchmark = dict(type="TurnedAccuracy", people=48)
