"""Side and back views after a front view, on rendered people whose bodies are known.

`python tools/benchmark.py configs/benchmarks/tracking_turned.py --out DIR`
`benchmark.stirred=True` moves joints between the views by 10 to 15 degrees.
"""

_base_ = ["../_base_/runtime.py"]

benchmark = dict(type="TurnedAccuracy", people=48)
