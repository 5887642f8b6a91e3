"""LHM as released: SMPL-X, frozen Sapiens-1B for the body, DINOv2 ViT-L for the head (your files).

Losses and schedule follow the released configs where a term exists here; see docs/baselines.md.
"""

model = dict(
    body=dict(type="SMPLXBody", source="smplx"),
    map_size=64,  # no map is read
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(type="SapiensEncoder", size="1b", image_size=1024),
    projector=None,
    decoder=dict(
        type="LHMDecoder",
        head_encoder=dict(
            type="DINOv2Encoder",
            size="l",
            registers=True,
            fused="default",
            image_size=448,
            mean=(0, 0, 0),
            std=(1, 1, 1),
            frozen=False,
        ),
        points=40_000,
        width=1024,
        layers=5,
        heads=16,
        hidden=512,
        head_size=112,
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=1.0, lpips=1.0, mask=1.0, net="vgg"),
    regularizers=[
        dict(type="OffsetHingeLoss", weight=10.0, limit=0.0525),
        dict(type="IsotropyLoss", weight=0.001, ratio=5.0),
    ],
)
