"""Dual-UV and five other methods under one budget, on the same held-out people.

`python tools/benchmark.py configs/benchmarks/halfbody.py --out outputs/halfbody`; see
docs/benchmarking.md. Open components, about 20 M parameters each.
"""

# Dual-UV in 300 steps, as in `dualuv_tiny.py`: its losses, and not held back by smoothness.
_SHORT = [
    "model.reconstruction.l1=2.0",
    "model.reconstruction.l2=0.0",
    "model.reconstruction.mask=1.0",
    "model.regularizers.5.weight=0.0",
]

benchmark = dict(
    type="MethodSweep",
    title="One portrait to an avatar: methods compared",
    notes=[
        "Every method is trained here, on procedural people, from nothing: open components, about "
        "20 M parameters, equal samples. True body parameters and cameras are given. The closed-form "
        "copy learns nothing. Feedback from the portrait corrects geometry and colours after training. "
        "LAM makes heads only and is trained on head framings, as published: see the metrics of the head "
        "alone. The default checkpoint is Dual-UV's network after a training about 40 times as long.",
    ],
    rows={
        "Dual-UV": dict(
            config="../dualuv_halfbody.py",
            overrides=[
                "model.feedback=null",  # any method could have it: see the row below
                *_SHORT,
            ],
            seeds=[0],
            paper="Ours",
        ),
        "Dual-UV + feedback": dict(
            config="../dualuv_halfbody.py", overrides=_SHORT, weights_of="Dual-UV"
        ),
        "GUAVA": dict(config="../guava_halfbody.py", seeds=[0], paper="GUAVA"),
        "LHM": dict(
            config="../lhm_halfbody.py",
            overrides=["model.decoder.scale_steps=[20,150]"],  # the same shares of 300 steps
            seeds=[0],
            paper="LHM",
        ),
        "LHM-HF": dict(
            config="../lhm_hf_halfbody.py",
            overrides=["model.decoder.scale_steps=[20,150]"],
            seeds=[0],
            paper="LHM-HF",
        ),
        "IDOL": dict(config="../idol_halfbody.py", seeds=[0], paper="IDOL"),
        "LAM": dict(config="../lam_head.py", seeds=[0], paper="LAM"),
        "copy": dict(config="../copy_halfbody.py", train=False),
        # The same network after a far longer training, at larger pictures: no competitor.
        "Dual-UV, default checkpoint": dict(
            config="../dualuv_halfbody.py",
            overrides=["model.feedback=null"],
            weights="../../weights/dualuv_halfbody.safetensors",
        ),
    },
    budget=dict(samples=3600),
    batch_size=12,
    pictures=dict(size=384, growing=[[0, 256], [200, 384]], reuse=2),
    curve=dict(
        points=4,
        subjects=12,
        data=dict(
            type="ProceduralPeopleDataset",
            split="val",
            num_subjects=12,
            size=384,
            target_yaw_range=(30, 60),
            framings=dict(half=1.0),
        ),
    ),
    repeat_best=dict(count=2, seeds=[1], by="half/novel/psnr"),
    overrides=["checkpoints.interval=100", "checkpoints.keep=1", "logging.pictures=0"],
    protocol=dict(
        sets={
            framing: dict(
                type="ProceduralPeopleDataset",
                split="test",
                num_subjects=100,
                size=384,
                target_yaw_range=(30, 60),
                framings={framing: 1.0},
            )
            for framing in ("head", "half", "full")
        },
        metrics=[
            dict(type="PSNR"),
            dict(type="PSNROver", background=0.5),
            dict(type="PSNRInside", margin=6),
            dict(type="SSIM"),
            dict(type="LPIPS", net="squeeze"),
            # The head alone: what LAM makes, and what the paper measures of it a second time.
            dict(type="PSNR", parts=("head",)),
            dict(type="SSIM", parts=("head",)),
            dict(type="LPIPS", net="squeeze", parts=("head",)),
            # Named with the reason where their package or file is not there. Faces are detected on
            # the CPU, so on the first people alone.
            dict(type="LandmarkAgreement", part="face", subjects=20),
            dict(type="IdentitySimilarity"),
        ],
        background=1.0,
        batch_size=10,
        shown=3,
        sensitivity=dict(
            subjects=20,
            size=384,
            data=dict(
                type="ProceduralPeopleDataset",
                split="test",
                num_subjects=20,
                size=768,
                supersample=1,  # each portrait is a window of it, made smaller
                framings=dict(full=1.0),
                target_yaw_range=(0, 0),
                repose_probability=1.0,
            ),
        ),
    ),
)
del _SHORT
