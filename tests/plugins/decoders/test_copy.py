import math

import torch

from presence.models import AvatarModel
from presence.structures import Camera, Portrait
from presence.testing.toy_models import ball_config


def test_copies_mirrors_and_fills():
    config = ball_config(dict(type="CopyDecoder"), rings=32)
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
