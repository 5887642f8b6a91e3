"""LHM-HF on open components: `lhm_halfbody.py`, trained with random crops of the body."""

_base_ = [
    "./_base_/runtime.py",
    "./_base_/schedule.py",
    "./_base_/halfbody_people.py",
    "./_base_/lhm_open.py",
]

data = dict(
    train=dict(
        _delete_=True,
        type="BodyCropsDataset",
        probability=0.7,
        share=(0.3, 1.0),
        dataset=dict(
            type="ProceduralPeopleDataset",
            split="train",
            size=512,
            growing=[[0, 384], [1000, 512]],
            repose_probability=0.3,
        ),
    )
)
schedule = dict(iterations=1500, batch_size=12, warmup=100, final_ratio=0.02)
optimizer = dict(lr=4e-4)
validation = dict(interval=0, subjects=32, batch_size=8, at_start=False)
checkpoints = dict(interval=100, keep=2)
