"""LAM on open components, on pictures of heads; see docs/baselines.md."""

_base_ = [
    "./_base_/runtime.py",
    "./_base_/schedule.py",
    "./_base_/halfbody_people.py",
    "./_base_/lam_open.py",
]

data = dict(
    train=dict(framings=dict(head=1.0)),
    val=dict(framings=dict(head=1.0)),
    test=dict(framings=dict(head=1.0)),
)
schedule = dict(iterations=1500, batch_size=12, warmup=100, final_ratio=0.02)
optimizer = dict(lr=4e-4)
validation = dict(interval=0, subjects=32, batch_size=8, at_start=False)
checkpoints = dict(interval=100, keep=2)
