"""Table 2 (b): 3% of the people of both kinds of data, a part of the 33%."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

data = dict(train=dict(sources=dict(rendered=dict(num_subjects=4_500), generated=dict(share=0.03))))
