"""Table 2 (d): without the Shell-UV branch."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]

model = dict(decoder=dict(shell_size=0))
