"""Table 2 (a): 4 self-attention blocks instead of 8."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

model = dict(decoder=dict(blocks=4))
