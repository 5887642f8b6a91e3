"""Table 2, the row that all others differ from: 8 blocks, shell, all data of both kinds."""

_base_ = ["../dualuv_halfbody_sapiens1b.py"]
