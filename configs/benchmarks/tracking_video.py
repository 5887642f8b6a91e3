"""A rendered clip of ten seconds through all three stages.

`python tools/benchmark.py configs/benchmarks/tracking_video.py --out DIR`
"""

_base_ = ["../_base_/runtime.py"]

benchmark = dict(type="TrackingVideo", options=dict())
