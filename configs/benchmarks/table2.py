"""Table 2 (a)-(d) with the paper's own configuration, for those who have its files.

It needs the Sapiens weights, a folder of generated pictures (docs/training.md), and weeks of GPUs. The
paper measured on its 200 synthetic clips ("Upper-Wan"): set `wan` is a folder of such clips of your own, the
only one beside which its figures stand. The procedural people of `halfbody.py` are further sets, of which
the paper has no figures.

A step has the paper's 32 samples (8 on each of 4 GPUs there, 4 times 8 on one GPU here), and a row the 200,000
steps of `dualuv_halfbody_sapiens1b.py`: 6.4 M samples.
"""

_base_ = ["./halfbody.py"]

rows = {
    "full": ("full", "full"),
    "2 blocks": ("blocks_2", "2 blocks"),
    "4 blocks": ("blocks_4", "4 blocks"),
    "33% of the data": ("share_33", "33% of the data"),
    "3% of the data": ("share_3", "3% of the data"),
    "rendered data": ("data_rendered", "syn"),
    "generated data": ("data_generated", "gen"),
    "generated videos": ("data_generated_videos", "gen*"),
    "no shell": ("no_shell", "no shell"),
}
benchmark = dict(
    title="Table 2 with the paper's configuration",
    notes=[
        "Sapiens-1B in front, rendered and generated data. Set `wan`: clips of a video generator, as the "
        "paper's, which are not published. The other sets: held-out procedural people; not in the paper.",
    ],
    rows={
        "_delete_": True,
        **{
            name: dict(config=f"../ablations/{file}.py", paper=paper)
            for name, (file, paper) in rows.items()
        },
    },
    budget=dict(samples=6_400_000),
    batch_size=8,
    pictures=dict(_delete_=True),  # 1024 x 1024, as the configs say
    repeat_best=None,
    overrides=[
        "schedule.accumulate=4",
        "checkpoints.interval=2000",
        "checkpoints.keep=1",
        "logging.pictures=0",
    ],
    paper_columns=dict(wan=["Upper-Wan"], head=[], half=[], full=[]),
    protocol=dict(
        sets=dict(
            wan=dict(
                type="ClipFolder",
                root="data/synthetic_clips",
                count=200,
                seed=0,
                size=1024,
                tracker=None,
                cache=None,
            )
        )
    ),
)
del rows
