"""Table 2 (c), "syn": rendered data alone."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

data = dict(train=dict(weights=dict(generated=0.0)))
