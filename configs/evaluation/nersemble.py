"""The default model on heads of NeRSemble from a second camera (docs/datasets.md)."""

_base_ = ["../dualuv_halfbody.py"]

data = dict(
    test=dict(
        _delete_=True,
        type="NeRSemble",
        root=None,  # its place in configs/assets.yaml
        sequences=None,  # names to choose from
        camera="222200037",
        turn=30.0,  # degrees to the target's camera
        reference=0.0,  # moments as shares of the sequence
        target=0.0,
        count=None,
        seed=0,
        size=512,
        cache=None,  # below $PRESENCE_HOME
    )
)
