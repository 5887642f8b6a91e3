"""Table 2 (c), "gen": generated data alone, frames of videos with side and back views."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

data = dict(train=dict(weights=dict(rendered=0.0)))
