"""The same method at a size for two CPU cores: minutes, for tests and a first look."""

_base_ = ["./_base_/runtime.py", "./_base_/schedule.py", "./_base_/dualuv_open.py"]

precision = "fp32"
model = dict(
    map_size=128,
    encoder=dict(
        widths=(24, 48, 96), conv_blocks=(1, 1), attention_blocks=1, heads=2, out_channels=64
    ),
    projector=dict(core_size=16, shell_size=8, feature_stride=1),
    decoder=dict(
        core_size=16,
        shell_size=8,
        width=128,
        heads=4,
        blocks=3,
        merge=1,
        cell_width=None,
        refine_blocks=0,
        hidden=64,
        cover=0.0,  # at 96 px no picture is near enough to see gaps
        outline=True,  # at 96 px the outline is nearly all of the error, and 300 steps are few
        mask_ratio=0.3,
    ),
    feedback=dict(geometry=None),  # measured is what 300 iterations teach, not what fitting adds
    reconstruction=dict(lpips=0.0),  # its trunk is a download; see docs/configs.md
    regularizers=[  # without SmoothnessLoss: 300 steps have to move whole outlines first
        dict(type="OffsetLoss", weight=1.0),
        dict(type="ScaleLoss", weight=1.0, limit=0.01),
        dict(type="IsotropyLoss", weight=0.001, ratio=5.0),
        dict(type="OpacityLoss", weight=0.01, target=0.8),
        dict(type="HandConsistencyLoss", weight=0.01),
    ],
)
data = dict(
    train=dict(type="ProceduralPeopleDataset", split="train", size=96, supersample=1),
    val=dict(
        type="ProceduralPeopleDataset",
        split="val",
        num_subjects=8,
        size=96,
        supersample=1,
        target_yaw_range=(30, 60),
    ),
)
schedule = dict(iterations=300, batch_size=2, warmup=20, final_ratio=0.1)
optimizer = dict(lr=2e-3, lr_scale={"decoder.heads": 3.0, "decoder.outline_heads": 3.0})
ema = dict(decay=0.95)  # 20 iterations: a longer memory is still behind at the end
logging = dict(interval=25, pictures=150)
validation = dict(
    interval=300,
    subjects=8,
    batch_size=4,
    metrics=[dict(type="PSNR"), dict(type="SSIM")],
    test_metrics=[],
)
checkpoints = dict(interval=150, keep=2)
