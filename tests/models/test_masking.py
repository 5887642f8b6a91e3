"""Random masking while training, and the portrait's mask at test time (paper A.1)."""

import math

import pytest
import torch

from presence.bodies import load_body
from presence.projection import build_surface
from presence.rasterize import build_rasterizer
from presence.registry import DECODERS, PROJECTORS
from presence.structures import Camera, ImageFeatures, Portrait, UVFeatures


@pytest.fixture(scope="module")
def parts():
    body = load_body("annyx")
    surface = build_surface(body, 64)
    return body, surface


def seen_by_the_decoder(decoder, body, batch):
    """The core's seen flags [B cells] that reach the first layer."""
    ones = torch.ones(batch, 4, 16, 16)
    flag, shell = torch.ones(batch, 1, 16, 16), torch.ones(batch, 1, 8, 8)
    maps = torch.ones(batch, 3, 64, 64)
    features = UVFeatures(ones, flag, torch.ones(batch, 4, 8, 8), shell, maps, maps[:, :1])
    caught = []
    hook = decoder.core_in.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    params = body.default_params((batch,))
    camera = Camera.look_at(torch.tensor([0.0, 0, 3]), torch.zeros(3), 0.5, 8, 8)
    cameras = camera.map(lambda value: value.expand(batch, *value.shape))
    with torch.no_grad():
        decoder(features, body(params), params, cameras)
    hook.remove()
    return caught[0][..., -1]


def test_each_sample_loses_a_share_between_nothing_and_half(parts):
    body, surface = parts
    options = dict(core_size=16, shell_size=8, width=32, blocks=0, heads=2, hidden=4)
    torch.manual_seed(0)
    decoder = DECODERS.build(
        dict(type="DualUVDecoder", **options), body=body, surface=surface, in_channels=4
    )
    decoder.train()
    with_rows = torch.cat([seen_by_the_decoder(decoder, body, 16) for _ in range(8)])
    dropped = 1 - with_rows.mean(1)  # [128] shares, U(0, 0.5) up to binomial noise of 0.03
    assert 0.2 < dropped.mean() < 0.3
    assert dropped.min() < 0.06 and 0.42 < dropped.max() < 0.6
    assert 0.10 < dropped.std() < 0.19  # 0.144 for a uniform share; 0.03 for one share of all
    decoder.eval()
    assert seen_by_the_decoder(decoder, body, 2).min() == 1


@pytest.mark.parametrize(
    ("mask_filter", "training", "filtered"),
    [
        ("test", False, True),
        ("test", True, False),
        ("always", True, True),
        ("never", False, False),
    ],
)
def test_points_outside_the_mask_are_unseen_at_test_time(parts, mask_filter, training, filtered):
    body, surface = parts
    projector = PROJECTORS.build(
        dict(type="DualUVProjector", core_size=16, shell_size=8, mask_filter=mask_filter),
        surface=surface,
        rasterizer=build_rasterizer("cpu"),
    ).train(training)
    params = body.default_params((1,))
    eye, middle = torch.tensor([0.0, 0.0, 4.0]), torch.zeros(3)
    camera = Camera.look_at(eye, middle, math.radians(30), 128, 128).unsqueeze()
    alpha = torch.zeros(1, 1, 128, 128)
    alpha[..., 64:] = 1  # the right half of the picture only
    portrait = Portrait(torch.ones(1, 3, 128, 128), alpha)
    features = ImageFeatures(torch.ones(1, 2, 8, 8))
    with torch.no_grad():
        mesh = body(params)
        uv = projector(features, portrait, mesh, camera)
    px = camera.project(surface.binding.interpolate(mesh.vertices))[0][0]
    seen = surface.from_map(uv.texels_seen)[0, :, 0] > 0
    left, right = px[:, 0] < 63, px[:, 0] > 65
    assert seen[right].sum() > 100
    assert (seen[left].sum() == 0) == filtered
