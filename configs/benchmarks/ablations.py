"""Table 2 on open components: what each part of Dual-UV is worth, at equal samples.

(a) blocks, (b) people, (d) the shell, and the colours copied from the portrait, which are ours. (c),
the kind of data, needs generated pictures: `table2.py`.
"""

_base_ = ["./halfbody.py"]

benchmark = dict(
    title="Dual-UV without its parts",
    notes=[
        "Open components and procedural people, equal samples. A share of the data is a share of the "
        "people: the same samples are then seen again and again.",
    ],
    rows={
        "_delete_": True,
        "full": dict(config="../dualuv_halfbody.py", paper="full"),
        "2 blocks": dict(
            config="../dualuv_halfbody.py", overrides=["model.decoder.blocks=2"], paper="2 blocks"
        ),
        "4 blocks": dict(
            config="../dualuv_halfbody.py", overrides=["model.decoder.blocks=4"], paper="4 blocks"
        ),
        "33% of the people": dict(
            config="../dualuv_halfbody.py",
            overrides=["data.train.finite=true", "data.train.num_subjects=1800"],
            paper="33% of the data",
        ),
        "3% of the people": dict(
            config="../dualuv_halfbody.py",
            overrides=["data.train.finite=true", "data.train.num_subjects=162"],
            paper="3% of the data",
        ),
        "no shell": dict(
            config="../dualuv_halfbody.py",
            overrides=["model.decoder.shell_size=0"],
            paper="no shell",
        ),
        "no texel_rgb": dict(
            config="../dualuv_halfbody.py",
            overrides=[  # the other two improve its colours
                "model.decoder.texel_rgb=false",
                "model.decoder.complete=false",
                "model.decoder.resample=false",
            ],
        ),
    },
    repeat_best=None,
)
