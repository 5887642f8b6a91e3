"""The paper's own configuration: Sapiens-1B, 8 blocks of 1024, rendered and generated data.

It needs the Sapiens file (see `python tools/doctor.py`) and a folder of generated multi-view
pictures (docs/training.md). On four GPUs, 8 samples each, as in the paper:
`torchrun --nproc_per_node 4 tools/train.py configs/dualuv_halfbody_sapiens1b.py --launcher pytorch`

Values marked * are not in the paper's text.
"""

_base_ = ["./_base_/runtime.py", "./_base_/schedule.py", "./_base_/dualuv_paper.py"]

data = dict(
    train=dict(
        type="MixedDataset",
        sources=dict(
            # Stands in for the paper's rendered scans; your own renderings are a
            # MultiViewFolder with pairing="free".
            rendered=dict(
                type="ProceduralPeopleDataset",
                split="train",
                num_subjects=150_000,
                finite=True,
                size=1024,
                repose_probability=0.3,
            ),
            generated=dict(type="MultiViewFolder", root="data/generated", split="train", size=1024),
        ),
        weights=dict(rendered=1.0, generated=1.0),  # *
    ),
    val=dict(type="MultiViewFolder", root="data/generated", split="val", size=1024),
    test=dict(type="MultiViewFolder", root="data/generated", split="val", size=1024),
)
schedule = dict(iterations=200_000, batch_size=8, warmup=2000)  # * three days on 4 A100
optimizer = dict(lr=1e-4, clip=1.0)  # * the rate; the clipping is the paper's
precision = "bf16"
attention = "auto"  # the fastest kernel, measured when the run starts
validation = dict(interval=5000, subjects=64, batch_size=4)
checkpoints = dict(interval=2000)
logging = dict(pictures=5000)
pipeline = dict(size=1024)
