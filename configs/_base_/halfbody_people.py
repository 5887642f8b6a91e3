# Half-body dominated procedural people, as the default checkpoint is trained and measured on.
data = dict(
    train=dict(
        type="ProceduralPeopleDataset",
        split="train",
        size=512,
        growing=[[0, 384], [900, 512]],
        reuse=2,
        repose_probability=0.3,
    ),
    val=dict(
        type="ProceduralPeopleDataset",
        split="val",
        num_subjects=100,
        size=512,
        target_yaw_range=(30, 60),
    ),
    test=dict(
        type="ProceduralPeopleDataset",
        split="test",
        num_subjects=100,
        size=512,
        target_yaw_range=(30, 60),
    ),
)
