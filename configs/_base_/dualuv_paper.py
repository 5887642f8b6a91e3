"""The Dual-UV model as the paper has it: Sapiens-1B in front, tokens of 1024, no colour copied.

Values marked * are not in the paper's text.
"""

model = dict(
    body=dict(type="SMPLXBody", source="annyx"),  # or the path of your SMPL-X file
    map_size=512,  # 262,144 texels, one Gaussian a texel inside a chart
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="SapiensEncoder", size="1b", weights="official", image_size=1024, frozen=True
    ),  # 64 x 64 cells of 1536
    projector=dict(
        type="DualUVProjector",
        core_size=64,
        shell_size=32,  # *
        shell_offset=0.03,  # * metres
        feature_stride=2,  # * sixteen samples a cell of 8 x 8 texels
        mask_filter="test",  # points outside the mask count as unseen, at test time only
        max_raster_size=1024,
    ),
    decoder=dict(
        type="DualUVDecoder",
        core_size=64,
        shell_size=32,
        width=1024,
        merge=1,  # every cell is a token
        blocks=8,
        heads=16,  # *
        mlp_ratio=3.0,  # * keeps the decoder below 0.1 B parameters
        frequencies=8,  # *
        texel_channels=16,  # 1024 = 8 x 8 x 16: unpatchify is a reshape
        hidden=256,
        mask_ratio=0.5,
        texel_rgb=False,
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=1.0, lpips=1.0, mask=0.0, net="vgg"),  # *
    regularizers=[  # weights*
        dict(type="OffsetLoss", weight=1.0),
        dict(type="ScaleLoss", weight=1.0, limit=0.01),
        dict(type="IsotropyLoss", weight=0.001, ratio=5.0),
        dict(type="HandConsistencyLoss", weight=0.01),
        dict(type="OpacityLoss", weight=0.01, target=0.8),
    ],
)
