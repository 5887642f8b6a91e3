"""Table 2 on open components: what each part of Dual-UV is worth, at equal samples.

(a) blocks, (b) people, (d) the shell; and what is ours: the colours copied from the portrait, and the
feedback from it. (c), the kind of data, needs generated pictures: `table2.py`.
"""

_base_ = ["./halfbody.py"]

config = "../dualuv_halfbody.py"

benchmark = dict(
    title="Dual-UV without its parts",
    notes=[
        "Open components and procedural people, equal samples. A share of the data is a share of "
        "the people: the same samples are then seen again and again. Colours are as decoded but in "
        "the row with feedback, which has the weights of the full model.",
    ],
    rows={
        "_delete_": True,
        "full": dict(config=config, seeds=[0, 1], paper="full"),
        "with feedback": dict(
            config=config,
            overrides=["model.feedback={geometry: {steps: 15}, colours: {steps: 2}}"],
            weights_of="full",
        ),
        "2 blocks": dict(config=config, overrides=["model.decoder.blocks=2"], paper="2 blocks"),
        "4 blocks": dict(config=config, overrides=["model.decoder.blocks=4"], paper="4 blocks"),
        "33% of the people": dict(
            config=config,
            overrides=["data.train.finite=true", "data.train.num_subjects=600"],  # of 1,800
            paper="33% of the data",
        ),
        "3% of the people": dict(
            config=config,
            overrides=["data.train.finite=true", "data.train.num_subjects=54"],
            paper="3% of the data",
        ),
        "no shell": dict(config=config, overrides=["model.decoder.shell_size=0"], paper="no shell"),
        "no outline": dict(config=config, overrides=["model.decoder.outline=false"]),
        "no texel_rgb": dict(
            config=config,
            overrides=[  # the other two improve its colours
                "model.decoder.texel_rgb=false",
                "model.decoder.complete=false",
                "model.decoder.resample=false",
            ],
        ),
    },
    repeat_best=None,
    overrides=[
        "model.reconstruction.l1=2.0",  # for short trainings, as in `halfbody.py`
        "model.reconstruction.l2=0.0",
        "model.reconstruction.mask=1.0",
        "model.regularizers.5.weight=0.0",
        "model.feedback=null",
        "checkpoints.interval=100",
        "checkpoints.keep=1",
        "logging.pictures=0",
    ],
)
del config
