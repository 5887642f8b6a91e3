"""The paper's sizes with weights of random value, for `tools/profile.py`.

1024 x 1024 portraits, frozen Sapiens-1B (64 x 64 x 1536), a 64 x 64 core and a 32 x 32 shell of
tokens, 8 blocks 1024 wide, 512 x 512 attribute maps, batch 8 a GPU.
"""

_base_ = ["../_base_/runtime.py", "../_base_/schedule.py", "../_base_/dualuv_open.py"]

model = dict(
    encoder=dict(_delete_=True, type="SapiensEncoder", size="1b", weights="random"),
    projector=dict(feature_stride=2),
    decoder=dict(
        width=1024,
        heads=16,
        merge=1,
        cell_width=None,
        refine_blocks=0,
        hidden=256,
        texel_rgb=False,
    ),
    reconstruction=dict(lpips=0.0),  # its trunk is a download; the cost is reported without it
)
data = dict(train=dict(type="ProceduralPeopleDataset", split="train", size=1024))
validation = dict(interval=0)
