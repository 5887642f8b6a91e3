"""Table 2 (b): 33% of the people of both kinds of data."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

data = dict(
    train=dict(sources=dict(rendered=dict(num_subjects=49_500), generated=dict(share=0.33)))
)
