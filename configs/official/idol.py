"""IDOL at its released size, on SMPL-X; weights through tools/import_weights.py."""

_base_ = [
    "../_base_/runtime.py",
    "../_base_/schedule.py",
    "../_base_/halfbody_people.py",
]

model = dict(
    body=dict(type="SMPLXBody", source="smplx"),
    map_size=384,  # about 100,000 Gaussians
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="SapiensEncoder",
        size="1b",
        image_size=(1024, 736),  # portraits of 640 x 896 pixels were stretched to it
        mean=(0.485, 0.456, 0.406),  # ImageNet's, not Sapiens' own
        std=(0.229, 0.224, 0.225),
        states=(39, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0),
    ),
    projector=None,
    decoder=dict(type="IDOLDecoder"),
    renderer=dict(type="AutoRenderer"),
    # The paper: 20 MSE of colours in -1..1, which is 80 of those in 0..1; 10 LPIPS; 1 offset^2.
    reconstruction=dict(
        type="ReconstructionLoss", l1=0.0, l2=80.0, lpips=10.0, mask=0.0, net="vgg"
    ),
    regularizers=[dict(type="OffsetLoss", weight=1.0)],
)
schedule = dict(iterations=80_000, batch_size=1, warmup=10_000)
optimizer = dict(lr=5e-4, clip=10.0)
