"""LHM-500M-HF: LHM-500M's network, trained with random crops of the body."""

_base_ = [
    "../_base_/runtime.py",
    "../_base_/schedule.py",
    "../_base_/halfbody_people.py",
    "../_base_/lhm_official.py",
]

data = dict(
    train=dict(
        _delete_=True,
        type="BodyCropsDataset",
        dataset=dict(
            type="ProceduralPeopleDataset", split="train", size=512, repose_probability=0.3
        ),
    )
)
schedule = dict(iterations=40_000, batch_size=1, warmup=3000)
optimizer = dict(lr=4e-4, clip=0.1)
