"""The fused projection beside the torch one: on a GPU, and in Triton's interpreter elsewhere."""

import math

import pytest
import torch

from presence.projection import DualUVProjector, build_surface
from presence.projection.fused import project_fused
from presence.rasterize import AutoRasterizer
from presence.structures import Camera, ImageFeatures, Portrait
from presence.testing.toy_bodies import SphereBody

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def check(device, batch, channels, layout, height=72, width=56, side=32, masked=True):
    """Compares both paths on a sphere seen by `batch` cameras, half of it masked away."""
    torch.manual_seed(channels)
    body = SphereBody(rings=16, segments=24).to(device)
    surface = build_surface(body, side).to(device)
    projector = DualUVProjector(
        surface, AutoRasterizer(), core_size=8, shell_size=4, feature_stride=1, shell_offset=0.2
    ).to(device)
    projector.mask_filter = "always" if masked else "never"
    mesh = body(body.default_params((batch,)))
    eye = torch.randn(batch, 3) * 0.5 + torch.tensor([0.0, 0.0, 4.0])
    camera = Camera.look_at(eye, torch.zeros(batch, 3), math.radians(28), width, height).to(device)
    features = torch.randn(batch, channels, 9, 7)
    if layout == "channels_last":
        features = features.contiguous(memory_format=torch.channels_last)
    alpha = torch.ones(batch, 1, height, width)
    alpha[..., : width // 3] = 0
    portrait = Portrait(torch.rand(batch, 3, height, width), alpha).to(device)
    features = ImageFeatures(features.to(device))
    expected = projector(_with_gradient(features), portrait, mesh, camera).detach()
    found = project_fused(projector, features, portrait, mesh, camera, masked=masked)
    # A point whose depth or cosine lies on a threshold may fall on either side.
    flipped = (found.texels_seen > 0) != (expected.texels_seen > 0)
    assert flipped.float().mean() < 0.002 and (expected.texels_seen > 0).float().mean() > 0.1
    same = ~flipped
    # Pixel positions are rounded to 2e-7 of the picture's side, and the picture is noise.
    close = dict(atol=2e-5 * max(1.0, height / 60), rtol=2e-4)
    torch.testing.assert_close(found.texels_seen[same], expected.texels_seen[same], **close)
    both = same.expand_as(found.texels)
    torch.testing.assert_close(found.texels[both], expected.texels[both], **close)
    for name in ("core", "shell"):
        seen, wanted = getattr(found, f"{name}_seen"), getattr(expected, f"{name}_seen")
        assert (wanted > 0).any()
        alike = (seen - wanted).abs() < 1e-5
        assert alike.float().mean() > 0.98
        alike = alike.expand_as(getattr(found, name))
        torch.testing.assert_close(
            getattr(found, name)[alike], getattr(expected, name)[alike], **close
        )


def _with_gradient(features):
    return ImageFeatures(features.grid.clone().requires_grad_())  # makes the projector use torch


CASES = [(1, 5, "channels_first"), (2, 40, "channels_last")]


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "channels", "layout"), [*CASES, (3, 1536, "channels_last")])
def test_fused_and_torch_agree_on_the_gpu(batch, channels, layout):
    check("cuda", batch, channels, layout)
    check("cuda", batch, channels, layout, 300, 200, 128, masked=False)


@needs_gpu
@pytest.mark.gpu
def test_the_host_never_waits_for_the_projection():
    body = SphereBody(rings=16, segments=24).cuda()
    projector = DualUVProjector(build_surface(body, 64).cuda(), AutoRasterizer()).cuda().eval()
    mesh = body(body.default_params((1,)))
    camera = Camera.look_at(
        torch.tensor([[0.0, 0.0, 4.0]]), torch.zeros(1, 3), math.radians(28), 64, 64
    ).to("cuda")
    picture = Portrait(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).to("cuda")
    features = ImageFeatures(torch.randn(1, 32, 8, 8).cuda())
    projector(features, picture, mesh, camera)
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = projector(features, picture, mesh, camera)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert (found.core_seen > 0).any()


def test_fused_and_torch_agree_in_the_interpreter(run_interpreted):
    # The rasterizer stays the CPU's there.
    code = (
        "import test_fused_projection as tests\nfor case in tests.CASES: tests.check('cpu', *case)"
    )
    run_interpreted(code)
