"""The default model on 100 full-body people of SHHQ (docs/datasets.md)."""

_base_ = ["../dualuv_halfbody.py"]

data = dict(
    test=dict(
        _delete_=True,
        type="SHHQ",
        root=None,  # its place in configs/assets.yaml
        count=100,
        seed=0,
        size=512,
        cache=None,  # below $PRESENCE_HOME
    )
)
