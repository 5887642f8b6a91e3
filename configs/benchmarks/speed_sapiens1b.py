"""The paper's model with weights of random value, for `tools/profile.py`: it needs no files.

1024 x 1024 portraits, frozen Sapiens-1B (64 x 64 x 1536), a 64 x 64 core and a 32 x 32 shell of
tokens, 8 blocks 1024 wide, 512 x 512 attribute maps, batch 8 a GPU.
"""

_base_ = ["../_base_/runtime.py", "../_base_/schedule.py", "../_base_/dualuv_paper.py"]

model = dict(
    encoder=dict(weights="random"),
    reconstruction=dict(lpips=0.0),  # its trunk is a download: times are without it
)
data = dict(train=dict(type="ProceduralPeopleDataset", split="train", size=1024))
schedule = dict(batch_size=8)
attention = "auto"
validation = dict(interval=0)
