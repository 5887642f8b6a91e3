"""A model on the GPU builds, corrects and learns what it does on the CPU, in float32."""

import copy

import pytest
import torch

from presence.models import AvatarModel
from presence.structures import Portrait, TrainSample, View, cat
from presence.testing.toy_models import ball_config
from presence.testing.toy_training import toy_camera, toy_view

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DECODER = dict(
    type="DualUVDecoder",
    core_size=16,
    shell_size=8,
    width=32,
    heads=2,
    blocks=2,
    hidden=16,
    texel_rgb=True,
    outline=True,
    probes=(0.0, 0.05),
    carve=True,
    resample=True,
    mask_ratio=0.0,
)


@pytest.fixture(scope="module")
def models():
    """The same model on both devices, a little away from its start."""
    torch.manual_seed(0)
    drawn_anywhere = dict(
        rasterizer=dict(type="AutoRasterizer"),
        renderer=dict(type="AutoRenderer"),
        feedback=dict(geometry=dict(steps=5, rate=0.01), colours=dict(steps=2)),
    )
    here = AvatarModel.from_config(ball_config(DECODER, rings=16) | drawn_anywhere)
    with torch.no_grad():
        for parameter in here.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return here, copy.deepcopy(here).cuda()


@pytest.fixture(scope="module")
def sample(models):
    """Two discs somewhat larger than the ball."""
    body, camera = models[0].body, toy_camera(96)
    views = []
    for seed in (0, 1):
        portrait: Portrait = toy_view(seed, 96).portrait
        views.append(View(portrait, body.default_params(), camera).unsqueeze())
    both = cat(views)
    return TrainSample(both, both[[1, 0]], torch.zeros(2, dtype=torch.long))


def avatar_of(model, view):
    return model.reconstruct(view.portrait, view.body, view.camera)


def test_avatars_agree(models, sample):
    for model in models:
        model.eval()
    here = avatar_of(models[0], sample.reference).canonical
    there = avatar_of(models[1], sample.reference.to("cuda")).canonical.to("cpu")
    plain = avatar_of(models[0].train(), sample.reference).canonical  # without feedback
    for name in ("means", "scales", "opacities", "colors"):
        error = (getattr(there, name) - getattr(here, name)).abs().mean()
        size = (getattr(here, name) - getattr(plain, name)).abs().mean()
        assert error < max(0.1 * size, 1e-4), name
    assert (here.means - plain.means).abs().mean() > 1e-3


def test_gradients_agree(models, sample):
    """Of one drawing that is compared with the portrait, in every parameter."""
    found = []
    for model, view in zip(models, (sample.reference, sample.reference.to("cuda")), strict=True):
        model.train().zero_grad()
        drawn = model.animate(avatar_of(model, view), view.body, view.camera)
        wanted = view.portrait.rgb * view.portrait.alpha
        (
            (drawn.rgb - wanted).square().mean()
            + (drawn.alpha - view.portrait.alpha).square().mean()
        ).backward()
        found.append({n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, here in found[0].items():
        error = (found[1][name] - here).norm()
        assert error < 0.02 * here.norm() + 1e-7, name
