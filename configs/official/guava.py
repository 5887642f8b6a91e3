"""GUAVA at its released size, on SMPL-X; weights through tools/import_weights.py."""

_base_ = [
    "../_base_/runtime.py",
    "../_base_/schedule.py",
    "../_base_/halfbody_people.py",
]

model = dict(
    body=dict(type="SMPLXBody", source="smplx"),
    map_size=512,
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="DINOv2Encoder",
        size="b",
        registers=False,
        joined=(7, 8, 9, 10, 11),
        image_size=518,
        background="black",
    ),
    projector=None,
    decoder=dict(type="GUAVADecoder", teeth=120),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=1.0, lpips=0.05, mask=0.0, net="alex"),
    regularizers=[dict(type="ScaleLoss", weight=1.0, limit=0.01)],
)
schedule = dict(iterations=200_000, batch_size=6, warmup=500, shape="linear", final_ratio=0.03)
# The StyleUNets' style MLPs learn at a tenth.
optimizer = dict(
    lr=1e-4,
    betas=(0.0, 0.99),
    weight_decay=0.0,
    lr_scale={
        "decoder.inpaint.generator.style_mlp.": 0.1,
        "decoder.refiner.generator.style_mlp.": 0.1,
    },
)
