"""LHM-MINI at its released size."""

_base_ = [
    "../_base_/runtime.py",
    "../_base_/schedule.py",
    "../_base_/halfbody_people.py",
    "../_base_/lhm_official.py",
]

model = dict(decoder=dict(points=20_000, layers=2))
schedule = dict(iterations=40_000, batch_size=1, warmup=3000)
optimizer = dict(lr=4e-4, clip=0.1)
