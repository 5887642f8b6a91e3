"""LAM on open components: AnnyX's head, the compact encoder, about 21 M parameters.

Values marked * are ours; LAM-20K has width 1024, 10 layers and 16 heads.
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
        type="LAMDecoder",
        parts=("head", "neck"),  # 18,683 points; FLAME subdivided has 20,018
        width=384,  # *
        layers=5,  # *
        heads=6,  # *
        hidden=192,  # *
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(  # LAM's MSE, LPIPS and mask, one as much as the other
        type="ReconstructionLoss", l1=0.0, l2=0.5, lpips=0.5, mask=0.5, net="squeeze"
    ),
    regularizers=[dict(type="OffsetLoss", weight=0.1)],
)
