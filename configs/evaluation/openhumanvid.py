"""The default model on 100 clips of OpenHumanVid (docs/datasets.md)."""

_base_ = ["../dualuv_halfbody.py"]

data = dict(
    test=dict(
        _delete_=True,
        type="OpenHumanVid",
        root=None,  # its place in configs/assets.yaml
        table=None,  # a CSV file below the root that lists the clips to choose from
        reference=0.0,  # moments as shares of the clip
        target=0.5,
        count=100,
        seed=0,
        size=512,
        cache=None,  # below $PRESENCE_HOME
    )
)
