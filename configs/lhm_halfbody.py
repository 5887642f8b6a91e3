"""LHM on open components and the data of `dualuv_halfbody.py`; see docs/baselines.md."""

_base_ = [
    "./_base_/runtime.py",
    "./_base_/schedule.py",
    "./_base_/halfbody_people.py",
    "./_base_/lhm_open.py",
]

schedule = dict(iterations=1500, batch_size=12, warmup=100, final_ratio=0.02)
optimizer = dict(lr=4e-4)
validation = dict(interval=0, subjects=32, batch_size=8, at_start=False)
checkpoints = dict(interval=100, keep=2)
