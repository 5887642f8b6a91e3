"""PaletteDecoder beside Dual-UV and the copy, at the size of `configs/benchmarks/tiny.py`.

`python tools/benchmark.py examples/presence-decoder-demo/benchmark.py --out DIR`; minutes on two
CPU cores, to show that a decoder from another package joins a sweep. See docs/benchmarks.md.
"""

_base_ = ["../../configs/benchmarks/tiny.py"]

# Row paths are relative to this file.
config = "../../configs/dualuv_tiny.py"

benchmark = dict(
    title="A third party's decoder in a sweep",
    rows={
        "_delete_": True,
        "Dual-UV": dict(config=config, overrides=["model.feedback=null"]),
        "Palette": dict(
            config=config,
            overrides=["model.decoder={type: PaletteDecoder}", "model.feedback=null"],
        ),
        "copy": dict(
            config=config,
            overrides=["model.decoder={type: CopyDecoder}", "model.feedback=null"],
            train=False,
        ),
    },
    budget=dict(samples=300),
    repeat_best=None,
)
del config
