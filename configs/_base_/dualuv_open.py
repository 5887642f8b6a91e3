"""The Dual-UV model on open components: AnnyX, the compact encoder, no pretraining.

Values marked * are not in the paper's text.
"""

model = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=512,  # 512 x 512 attribute maps, one Gaussian a texel inside a chart
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="CompactEncoder",
        widths=(96, 192, 384),
        conv_blocks=(2, 3),
        attention_blocks=2,
        heads=6,
        out_channels=256,
    ),
    projector=dict(
        type="DualUVProjector",
        core_size=64,
        shell_size=32,  # *
        shell_offset=0.03,  # * metres
        feature_stride=4,  # four samples a cell of 8 x 8 texels
        mask_filter="test",
    ),
    decoder=dict(
        type="DualUVDecoder",
        core_size=64,
        shell_size=32,
        width=384,
        heads=6,
        blocks=8,
        mlp_ratio=3.0,
        merge=2,  # * four cells a token: attention that two CPU cores can afford
        cell_width=192,
        refine_blocks=2,
        hidden=128,  # half of the paper's: the heads run for every texel
        texel_rgb=True,  # * no pretraining: detail is copied, not memorised
        complete=True,  # *
        probes=(-0.02, 0.0, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2),  # * metres
        carve=True,  # *
        resample=True,  # *
        cover=0.4,  # *
        narrow=2.0,  # * standard deviations
        mask_ratio=0.5,
    ),
    renderer=dict(type="AutoRenderer"),
    feedback=dict(geometry=dict(steps=15), colours=dict(steps=2)),  # *
    reconstruction=dict(type="ReconstructionLoss", l1=2.0, lpips=0.5, mask=1.0, net="squeeze"),
    regularizers=[  # weights*: the paper's lambdas are not in its text
        dict(type="OffsetLoss", weight=1.0),
        dict(type="ScaleLoss", weight=1.0, limit=0.01),
        dict(type="IsotropyLoss", weight=0.001, ratio=5.0),
        dict(type="OpacityLoss", weight=0.01, target=0.8),
        dict(type="HandConsistencyLoss", weight=0.01),
        dict(type="SmoothnessLoss", weight=0.02),  # *
    ],
)
