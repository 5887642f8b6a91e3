"""gsplat on a GPU against the CPU renderer. Figures: pytest -m gpu -s tests/rendering."""

import pytest
import torch

from presence.errors import PresenceError
from presence.rendering import CPURenderer, GsplatRenderer, gsplat_problem
from presence.testing.splatting import clear_of_threshold, random_scene

FIELDS = ("means", "quaternions", "scales", "opacities", "colors")


def needs_gsplat() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if gsplat_problem():
        pytest.skip(f"gsplat cannot be used: {gsplat_problem()}")


def draw(renderer, gaussians, camera, background, device):
    """The frame on the CPU, and gradients of a smooth loss against a fixed target."""
    leaves = gaussians.map(lambda value: value.to(device).clone().requires_grad_())
    backdrop = background.to(device).clone().requires_grad_()
    frame = renderer(leaves, camera.to(device), backdrop)
    rng = torch.Generator().manual_seed(5)
    loss = torch.zeros((), device=device)
    for picture in (frame.rgb, frame.alpha, frame.depth):
        target = torch.rand(picture.shape, generator=rng).to(device)
        loss = loss + (picture - target).square().mean()
    loss.backward()
    found = {name: getattr(leaves, name).grad.cpu() for name in FIELDS}
    return frame.detach().to("cpu"), {**found, "background": backdrop.grad.cpu()}


def compare(gaussians, camera, title):
    """Prints how CPU and gsplat differ; returns differences by picture and relative errors."""
    background = torch.rand(2, 3, generator=torch.Generator().manual_seed(2))
    cpu, cpu_grads = draw(CPURenderer(), gaussians, camera, background, "cpu")
    gpu, gpu_grads = draw(GsplatRenderer(), gaussians, camera, background, "cuda")
    size = f"2 x {gaussians.means.shape[1]:,} Gaussians, {camera.width} x {camera.height}"
    print(f"\n{title}: {size}, {torch.cuda.get_device_name()}")
    differences, errors = {}, {}
    for name in ("rgb", "alpha", "depth"):
        differences[name] = difference = (getattr(cpu, name) - getattr(gpu, name)).abs()
        over = (difference > 2e-3).sum().item()
        print(f"  {name:13s} max {difference.max():.2e}, mean {difference.mean():.2e}, "
              f"{over} of {difference.numel()} over 2e-3")  # fmt: skip
    for name, wanted in gpu_grads.items():
        errors[name] = ((cpu_grads[name] - wanted).norm() / wanted.norm()).item()
        print(f"  d {name:11s} relative error {errors[name]:.2e}")
    return differences, errors


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(256, 256), (200, 312)], ids=["square", "oblong"])
def test_cpu_and_gsplat_agree(size):
    needs_gsplat()
    gaussians, camera = random_scene(
        20_000, height=size[0], width=size[1], batch=(2,), seed=21,
        scale_px=(0.7, 3.0), opacity=(0.1, 0.9),
    )  # fmt: skip
    gaussians = clear_of_threshold(gaussians, camera)
    assert (gaussians.opacities > 0).float().mean() > 0.9
    differences, errors = compare(gaussians, camera, "decided by no rounding")
    assert differences["rgb"].max() <= 2e-3 and differences["alpha"].max() <= 2e-3
    assert differences["depth"].max() <= 1e-2  # Metres, at 1 m to 3 m.
    assert max(errors.values()) <= 1e-2


@pytest.mark.gpu
def test_where_rounding_decides_they_differ_by_one_faint_contribution():
    needs_gsplat()
    gaussians, camera = random_scene(
        20_000, height=256, width=256, batch=(2,), seed=22, scale_px=(0.7, 3.0), opacity=(0.1, 0.9)
    )
    differences, errors = compare(gaussians, camera, "any scene")
    for name in ("rgb", "alpha"):
        assert differences[name].max() <= 1.5 / 255
        assert (differences[name] > 2e-3).float().mean() < 5e-4
    assert max(errors.values()) <= 1e-2


@pytest.mark.gpu
def test_gsplat_draws_nothing_and_broadcasts():
    needs_gsplat()
    gaussians, camera = random_scene(50, width=40, height=24, batch=(3,), seed=4)
    gaussians, camera = gaussians.to("cuda"), camera.to("cuda")
    background = torch.tensor([0.1, 0.2, 0.3], device="cuda")
    empty = GsplatRenderer()(gaussians.map(lambda v: v[:, :0]), camera, background)
    assert torch.equal(empty.rgb, background[:, None, None].expand(3, 3, 24, 40))
    behind = gaussians.replace(means=camera.position[:, None] + 0 * gaussians.means)
    assert not GsplatRenderer()(behind, camera).alpha.any()
    shared = GsplatRenderer()(gaussians[1], camera, background)
    single = GsplatRenderer()(gaussians[1], camera[1], background)
    torch.testing.assert_close(shared.rgb[1], single.rgb, atol=1e-6, rtol=0)


@pytest.mark.gpu
def test_gsplat_computes_in_float32_under_autocast():
    needs_gsplat()
    gaussians, camera = random_scene(200, width=40, height=24, seed=6)
    gaussians, camera = gaussians.to("cuda"), camera.to("cuda")
    plain = GsplatRenderer()(gaussians, camera)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        cast = GsplatRenderer()(gaussians, camera)
    assert cast.rgb.dtype == torch.float32
    torch.testing.assert_close(cast.rgb, plain.rgb, atol=1e-6, rtol=0)


def test_cpu_tensors_are_refused_with_advice():
    with pytest.raises(ValueError, match="CPURenderer"):
        GsplatRenderer()(*random_scene(3, width=16, height=16))


def test_missing_kernels_are_explained(monkeypatch):
    from presence.rendering import gsplat_renderer

    monkeypatch.setattr(gsplat_renderer, "gsplat_problem", lambda: "no nvcc here")
    gaussians, _ = random_scene(3, width=16, height=16)
    monkeypatch.setattr(type(gaussians), "device", property(lambda self: torch.device("cuda")))
    with pytest.raises(PresenceError, match="no nvcc here"):
        GsplatRenderer().render_batch(gaussians, None, None, None, 16, 16)
