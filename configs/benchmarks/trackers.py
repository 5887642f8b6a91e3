"""Where each estimator is reliable: `python tools/benchmark.py configs/benchmarks/trackers.py --out DIR`.

Writes `regimes.json`, which `FusedTracker(regimes=...)` reads. Estimators without a file are left out;
`benchmark.pictures=FOLDER` adds pictures with keypoints.
"""

_base_ = ["../_base_/runtime.py"]

benchmark = dict(
    type="TrackerMap",
    people=8,  # in each of 3 framings and 6 ranges of turns
    limits=dict(failures=0.2, body=60.0, head=20.0, face=12.0, hand=45.0),  # mm, degrees
)
