import math

import torch

from presence.models import AvatarModel
from presence.registry import BODIES
from presence.structures import Camera, Portrait
from presence.testing.toy_bodies import SphereBody

if "SphereBody" not in BODIES.module_dict:
    BODIES.register()(SphereBody)


def test_copies_mirrors_and_fills():
    config = dict(
        body=dict(type="SphereBody", rings=32, segments=64),
        map_size=64,
        rasterizer=dict(type="CPURasterizer"),
        encoder=dict(
            type="CompactEncoder",
            widths=(4, 4, 4),
            conv_blocks=(0, 0),
            attention_blocks=0,
            heads=1,
            out_channels=4,
        ),
        projector=dict(type="DualUVProjector", core_size=16, shell_size=8),
        decoder=dict(type="CopyDecoder"),
        renderer=dict(type="CPURenderer"),
        reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
    )
    model = AvatarModel.from_config(config).eval()
    params = model.body.default_params()
    # From the person's left (+x): the right half is unseen and must mirror the left one.
    camera = Camera.look_at(torch.tensor([4.0, 0.0, 0.0]), torch.zeros(3), math.radians(20), 96, 96)
    rows = ((torch.arange(96) + 0.5) / 96)[None, :, None].expand(3, 96, 96)
    avatar = model.reconstruct(Portrait(rows.clone(), torch.ones(1, 96, 96)), params, camera)
    points = avatar.binding.interpolate(model.body(params).vertices)
    px, _ = camera.project(points)
    height = px[:, 1] / 96
    seen = points[:, 0] > 0.15
    mirrored = points[:, 0] < -0.15
    red = avatar.canonical.colors[:, 0]
    assert (red[seen] - height[seen]).abs().max() < 0.01
    mirror_px, _ = camera.project(points * torch.tensor([-1.0, 1.0, 1.0]))
    assert (red[mirrored] - mirror_px[mirrored, 1] / 96).abs().max() < 0.04
    assert avatar.canonical.means.abs().max() == 0
