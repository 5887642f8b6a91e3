"""LHM on open components: AnnyX, two compact encoders, no pretraining, about 23 M parameters.

Values marked * are ours; LHM-500M has 40,000 points, width 1024, 5 layers and 16 heads.
"""

model = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=64,  # no map is read
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="CompactEncoder",
        widths=(96, 192, 384),
        conv_blocks=(2, 3),
        attention_blocks=2,
        heads=6,
        out_channels=256,
    ),
    projector=None,
    decoder=dict(
        type="LHMDecoder",
        head_encoder=dict(  # *
            type="CompactEncoder",
            widths=(64, 128, 192),
            conv_blocks=(1, 2),
            attention_blocks=1,
            heads=4,
            out_channels=256,
        ),
        head_size=128,  # * 16 x 16 tokens
        points=20_000,  # LHM-MINI's
        width=256,  # *
        layers=4,  # *
        heads=4,  # *
        hidden=128,  # *
        scale_steps=(100, 750),  # * LHM: (100, 3000) of 40,000 iterations
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=1.0, lpips=0.5, mask=0.5, net="squeeze"),
    regularizers=[
        dict(type="OffsetHingeLoss", weight=10.0, limit=0.0525),
        dict(type="IsotropyLoss", weight=0.001, ratio=5.0),  # * weight
    ],
)
