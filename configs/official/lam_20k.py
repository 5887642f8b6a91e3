"""LAM-20K at its released size, on FLAME's vertices of SMPL-X; weights: tools/import_weights.py."""

_base_ = [
    "../_base_/runtime.py",
    "../_base_/schedule.py",
    "../_base_/halfbody_people.py",
]

model = dict(
    body=dict(type="SMPLXBody", source="smplx"),
    map_size=64,  # no map is read
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="DINOv2Encoder",
        size="l",
        registers=True,
        fused="default",
        image_size=504,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        frozen=False,
    ),
    projector=None,
    decoder=dict(
        type="LAMDecoder", flame_points=20_018, width=1024, layers=10, heads=16, hidden=512
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", l1=0.0, l2=1.0, lpips=1.0, mask=1.0, net="vgg"),
    regularizers=[dict(type="OffsetLoss", weight=0.1)],
)
data = dict(
    train=dict(framings=dict(head=1.0)),
    val=dict(framings=dict(head=1.0)),
    test=dict(framings=dict(head=1.0)),
)
schedule = dict(iterations=100_000, batch_size=4, warmup=3000)
optimizer = dict(lr=4e-4)
