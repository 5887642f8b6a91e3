"""Table 2 (a)-(d) with the paper's own configuration, for those who have its files.

It needs the Sapiens weights and a folder of generated pictures (docs/training.md), and days on GPUs.
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
    notes=["Sapiens-1B in front, rendered and generated data, tested on held-out rendered people."],
    rows={
        "_delete_": True,
        **{
            name: dict(config=f"../ablations/{file}.py", paper=paper)
            for name, (file, paper) in rows.items()
        },
    },
    budget=dict(samples=1_600_000),
    batch_size=8,
    pictures=dict(_delete_=True),  # 1024 x 1024, as the configs say
    repeat_best=None,
    overrides=["checkpoints.interval=2000", "checkpoints.keep=1", "logging.pictures=0"],
)
del rows
