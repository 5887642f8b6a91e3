"""GUAVA on open components: AnnyX, the compact encoder, no pretraining, about 24 M parameters.

Values marked * are ours; the released model has five maps of DINOv2 ViT-B, levels of 256, 512, 1024
and 1024 channels, 32 colour channels and StyleUNets of twice the width.
"""

model = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=512,
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
        type="GUAVADecoder",
        layers=1,  # * one grid of features stands for the five maps
        pool="mean",  # * a corner patch knows nothing of the person without pretraining
        levels=(96, 128, 192, 192),  # *
        uv_channels=16,  # *
        vertex_channels=64,  # *
        vertex_learned=64,  # *
        vertex_global=128,  # *
        uv_inpainted=48,  # *
        uv_learned=8,  # *
        colors=9,  # * three passes of the renderer
        style=256,  # *
        scale=0.5,  # *
        width=64,  # *
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=1.0, lpips=0.5, mask=0.5, net="squeeze"),
    regularizers=[  # weights*: GUAVA's hinges are on triangle sizes
        dict(type="OffsetLoss", weight=1.0),
        dict(type="ScaleLoss", weight=1.0, limit=0.01),
    ],
)
