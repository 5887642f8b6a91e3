"""`halfbody.py` at a size for two CPU cores: minutes, to rehearse; the figures mean nothing."""

_base_ = ["./halfbody.py"]

small = [
    "precision=fp32",
    "model.map_size=64",
    "model.encoder.widths=[16,32,48]",
    "model.encoder.conv_blocks=[1,1]",
    "model.encoder.attention_blocks=1",
    "model.encoder.heads=2",
    "model.encoder.out_channels=32",
    "model.reconstruction.lpips=0",
    "optimizer.lr=2e-3",
    "ema.decay=0.9",
]
lhm = [
    *small,
    "model.decoder.head_encoder={type: CompactEncoder, widths: [8, 16, 24], conv_blocks: [1, 1], "
    "attention_blocks: 1, heads: 2, out_channels: 32}",
    "model.decoder.head_size=64",
    "model.decoder.points=4000",
    "model.decoder.width=64",
    "model.decoder.layers=2",
    "model.decoder.heads=2",
    "model.decoder.hidden=32",
    "model.decoder.scale_steps=[2,20]",
]
people = [
    dict(
        type="ProceduralPeopleDataset",
        split="test",
        num_subjects=4,
        size=96,
        supersample=1,
        target_yaw_range=(30, 60),
        framings={framing: 1.0},
    )
    for framing in ("head", "half", "full")
]

benchmark = dict(
    title="A rehearsal of the comparison of methods",
    notes=["Tiny networks, trained for seconds: this page shows the form, not the methods."],
    rows={
        "Dual-UV": dict(config="../dualuv_tiny.py", overrides=["model.feedback=null"]),
        "Dual-UV + feedback": dict(config="../dualuv_tiny.py", overrides=[]),
        "GUAVA": dict(
            overrides=[
                *small,
                "model.decoder={type: GUAVADecoder, layers: 1, pool: mean, image_size: 64, "
                "levels: [16, 16, 16, 16], uv_channels: 8, vertex_channels: 16, vertex_learned: 16, "
                "vertex_global: 16, uv_inpainted: 16, uv_learned: 4, colors: 6, style: 32, "
                "scale: 0.06, width: 16}",
            ]
        ),
        "LHM": dict(overrides=lhm),
        "LHM-HF": dict(overrides=lhm),
        "IDOL": dict(
            overrides=[
                *small,
                "model.decoder={type: IDOLDecoder, layers: 1, grid: 8, width: 64, blocks: 2, "
                "heads: 2, deconvolutions: [32, 16, 16], convolutions: [16]}",
            ]
        ),
        "LAM": dict(
            overrides=[
                *small,
                "model.decoder={type: LAMDecoder, parts: [face], width: 48, layers: 2, heads: 2, "
                "hidden: 24}",
            ]
        ),
        "copy": dict(
            config="../dualuv_tiny.py",
            overrides=["model.decoder={type: CopyDecoder}", "model.feedback=null"],
        ),
    },
    budget=dict(samples=60),
    batch_size=2,
    pictures=dict(size=96, supersample=1, growing=[], reuse=1),
    curve=dict(points=3, subjects=2, data=dict(size=96, supersample=1)),
    overrides=["checkpoints.interval=10", "checkpoints.keep=1", "logging.pictures=0"],
    protocol=dict(
        sets=dict(head=people[0], half=people[1], full=people[2]),
        batch_size=2,
        shown=2,
        sensitivity=dict(subjects=2, size=96, data=dict(num_subjects=2, size=192, supersample=1)),
    ),
)
del small, lhm, people
