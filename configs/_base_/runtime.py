# How a run computes and what it writes. Every key is explained in docs/configs.md.
seed = 0
device = "auto"  # "cpu", "cuda"; "auto" takes CUDA where there is one
precision = "bf16"  # "fp32": without autocast
prefetch = True  # make the next batches in a second thread (CPU) or process (CUDA)
compile = False  # compile blocks that repeat: pays in long runs on a GPU
attention = "torch"  # attention kernel on a GPU: "flash", "cudnn", "efficient", "auto" (measured)
workers = 0  # DataLoader processes, for map-style data sets only
init_weights = None  # start from these weights wherever name and shape agree
plugins = []  # your own plugin files, relative to the config that names them
custom_hooks = []
tracker = dict(type="FusedTracker")  # of pictures that tools/reconstruct.py is given

logging = dict(interval=50, pictures=1000, subjects=4)
checkpoints = dict(interval=1000, keep=3)
validation = dict(
    interval=1000,
    subjects=16,
    batch_size=4,
    at_start=True,
    background=1.0,
    metrics=[
        dict(type="PSNR"),
        dict(type="PSNROver", background=0.5),
        dict(type="PSNROver", background=0.0),
        dict(type="PSNRInside", margin=6),
        dict(type="SSIM"),
        dict(type="LPIPS", net="squeeze"),
    ],
    test_metrics=[  # of tools/test.py, not while training
        dict(type="IdentitySimilarity"),
        dict(type="LandmarkAgreement", part="face"),
        dict(type="LandmarkAgreement", part="pose"),
    ],
)
