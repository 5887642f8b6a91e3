# How long and how fast to learn (design section 4, "Optimiser"; values without a source are ours).
schedule = dict(
    iterations=20_000,
    batch_size=8,  # a process
    accumulate=1,
    warmup=500,
    shape="cosine",
    final_ratio=0.05,
)
optimizer = dict(lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05, clip=1.0, lr_scale={})
ema = dict(decay=0.999, warmup=True)
