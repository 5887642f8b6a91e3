"""IDOL on open components: AnnyX, the compact encoder, no pretraining, about 22 M parameters.

Values marked * are ours; the released model has 96 x 96 tokens of width 1536, 16 blocks and heads.
"""

model = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=320,  # about 100,000 Gaussians, as IDOL has
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
        type="IDOLDecoder",
        layers=1,  # * one grid of features enters every block
        grid=32,  # *
        width=384,  # *
        blocks=8,  # *
        heads=6,  # *
        deconvolutions=(192, 128, 96, 64),  # * a code of 512 x 512
        convolutions=(48, 48),  # *
    ),
    renderer=dict(type="AutoRenderer"),
    # IDOL's 20 MSE on -1..1 to 10 LPIPS; the mask term is ours*.
    reconstruction=dict(
        type="ReconstructionLoss", l1=0.0, l2=4.0, lpips=0.5, mask=0.5, net="squeeze"
    ),
    regularizers=[dict(type="OffsetLoss", weight=1.0)],
)
