"""Table 2 (c), "gen*": frames of generated videos alone, without side and back views."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

data = dict(train=dict(sources=dict(generated=dict(labels=["front"])), weights=dict(rendered=0.0)))
