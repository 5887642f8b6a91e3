"""Table 1 with the released baselines, for those who have their files and the data sets.

Nothing is trained. A row whose weights are missing fails alone, and a set that is not here is named with
where to get it; the same command goes on once more is there. Weights are looked for at the paths below,
as docs/benchmarking.md says how to make them.
"""

_sets = {  # set: the data set with the paper's number of subjects, and its columns there
    "wild": (dict(type="OpenHumanVid", root=None, count=100), ["Upper-Wild"]),
    "wan": (dict(type="ClipFolder", root="data/synthetic_clips", count=200), ["Upper-Wan"]),
    "head": (dict(type="RenderMe360", root=None, count=50), ["Head", "Head, face alone"]),
    "full": (dict(type="SHHQ", root=None, count=100), ["Full-Body"]),
}
_released = {  # the paper's name: config and weights in configs/official and weights/official
    "GUAVA": "guava",
    "LHM": "lhm_500m",
    "LHM-HF": "lhm_500m_hf",
    "IDOL": "idol",
    "LAM": "lam_20k",
}

benchmark = dict(
    type="MethodSweep",
    title="Table 1 with the released baselines",
    notes=[
        "Dual-UV in the paper's configuration and the baselines' released weights, all on one tracker's "
        "bodies and cameras; the paper let each method use its own. Which clips and people the paper "
        "measured is not published: the lists are ours. Released weights of the baselines: "
        "`tools/import_weights.py`, see docs/benchmarking.md.",
    ],
    rows={
        "Dual-UV": dict(
            config="../dualuv_halfbody_sapiens1b.py",
            weights="../../work_dirs/dualuv_halfbody_sapiens1b/weights.safetensors",
            paper="Ours",
        ),
        **{
            name: dict(
                config=f"../official/{file}.py",
                weights=f"../../weights/official/{file}.safetensors",
                paper=name,
            )
            for name, file in _released.items()
        },
    },
    paper_columns={name: columns for name, (_, columns) in _sets.items()},
    protocol=dict(
        sets={
            name: dict(data, seed=0, size=1024, tracker=None, cache=None)
            for name, (data, _) in _sets.items()
        },
        metrics=[
            dict(type="PSNR"),
            dict(type="SSIM"),
            dict(type="LPIPS", net="alex"),
            # The head alone: what LAM makes, and what the paper measures of it a second time.
            dict(type="PSNR", parts=("head",)),
            dict(type="SSIM", parts=("head",)),
            dict(type="LPIPS", net="alex", parts=("head",)),
        ],
        background=1.0,
        batch_size=4,
        shown=3,
    ),
)
del _sets, _released
