"""The default model on 200 synthetic clips, in a folder of your own (docs/datasets.md)."""

_base_ = ["../dualuv_halfbody.py"]

data = dict(
    test=dict(
        _delete_=True,
        type="ClipFolder",
        root=None,  # your folder
        reference=0.0,  # moments as shares of the clip
        target=0.5,
        count=200,
        seed=0,
        size=512,
        cache=None,  # below $PRESENCE_HOME
    )
)
