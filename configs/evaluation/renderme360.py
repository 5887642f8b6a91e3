"""The default model on 50 talking clips of RenderMe-360 (docs/datasets.md)."""

_base_ = ["../dualuv_halfbody.py"]

data = dict(
    test=dict(
        _delete_=True,
        type="RenderMe360",
        root=None,  # its place in configs/assets.yaml
        camera="25",
        turn=0.0,  # degrees to the target's camera
        reference=0.0,  # moments as shares of the clip
        target=0.5,
        count=50,
        seed=0,
        size=512,
        cache=None,  # below $PRESENCE_HOME
    )
)
