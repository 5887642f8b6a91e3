"""The contract of Gaussian renderers: pixel convention, compositing, batches, gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.interfaces import GaussianRenderer
from presence.structures import Camera, Gaussians, Rendering, stack
from presence.testing.contracts.common import require, require_equal, require_finite

_SIZE = 48


def check_renderer(renderer: GaussianRenderer, *, device: str = "cpu", atol: float = 2e-3) -> None:
    """Checks a renderer against closed forms.

    Args:
        renderer: any renderer.
        device: where the Gaussians are.
        atol: largest difference in colour and alpha between equal renderings.

    Raises:
        ContractError: what is broken.
    """
    _check_one_gaussian(renderer, device)
    _check_order(renderer, device)
    _check_background_and_batch(renderer, device, atol)
    _check_gradients(renderer, device)


def _camera(device: str) -> Camera:
    eye, target = torch.tensor([0.0, 0.0, 2.0]), torch.zeros(3)
    return Camera.look_at(eye, target, 0.6, _SIZE, _SIZE).to(device)


def _gaussians(means: list[list[float]], device: str, **changes: Tensor) -> Gaussians:
    count = len(means)
    generator = torch.Generator().manual_seed(5)
    values = dict(
        means=torch.tensor(means),
        quaternions=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        scales=torch.full((count, 3), 0.02),
        opacities=torch.full((count,), 0.9),
        colors=torch.rand(count, 3, generator=generator),
    )
    return Gaussians(**{**values, **changes}).to(device)


def _cloud(device: str, seed: int = 0, count: int = 40) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=0.4 * torch.rand(count, 3, generator=generator) - 0.2,
        quaternions=torch.randn(count, 4, generator=generator),
        scales=0.01 + 0.03 * torch.rand(count, 3, generator=generator),
        opacities=0.1 + 0.8 * torch.rand(count, generator=generator),
        colors=torch.rand(count, 3, generator=generator),
    ).to(device)


def _check_one_gaussian(renderer: GaussianRenderer, device: str) -> None:
    camera = _camera(device)
    gaussians = _gaussians([[0.1, -0.05, 0.0]], device)
    rendering = renderer(gaussians, camera)
    require(isinstance(rendering, Rendering), renderer, "a call should give a Rendering")
    require(rendering.rgb.shape == (3, _SIZE, _SIZE), renderer, "one scene gives [3 H W]")
    px, depth = camera.project(gaussians.means)
    rows, columns = torch.meshgrid(*[torch.arange(_SIZE, device=device) + 0.5] * 2, indexing="ij")
    weight = rendering.alpha[0] / rendering.alpha.sum()
    centre = torch.stack([(weight * columns).sum(), (weight * rows).sum()])
    error = float((centre - px[0]).norm())
    require(
        error < 0.05, renderer, f"it should be drawn at its projection, is off by {error:.2f} px"
    )
    corner = rendering.alpha[0, :8, :8]
    require((corner == 0).all(), renderer, "alpha should be 0 far away from everything")
    peak = rendering.alpha[0].flatten().argmax()
    ratio = rendering.depth[0].flatten()[peak] / depth[0]
    covered = rendering.alpha[0].flatten()[peak]
    fits = abs(float(ratio) - 1) < 1e-2 or abs(float(ratio / covered) - 1) < 1e-2
    require(fits, renderer, "depth should be the camera z of what is seen")
    colour = rendering.rgb.flatten(1)[:, peak] / covered
    require(
        torch.allclose(colour, gaussians.colors[0], atol=2e-3),
        renderer,
        "rgb should be the colour times alpha over black",
    )


def _check_order(renderer: GaussianRenderer, device: str) -> None:
    colors = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    flat = torch.tensor([[0.2, 0.2, 0.001]]).repeat(2, 1)
    scene = _gaussians(
        [[0.0, 0.0, -0.3], [0.0, 0.0, 0.3]],  # the second is nearer to the camera
        device,
        colors=colors,
        scales=flat,
        opacities=torch.tensor([0.95, 0.95]),
    )
    centre = renderer(scene, _camera(device)).rgb[:, _SIZE // 2, _SIZE // 2]
    require(centre[0] > 0.9 and centre[2] < 0.1, renderer, "what is nearer should cover the rest")


def _check_background_and_batch(renderer: GaussianRenderer, device: str, atol: float) -> None:
    camera = _camera(device)
    clouds = [_cloud(device, seed) for seed in (0, 1)]
    background = torch.tensor([0.2, 0.5, 0.9], device=device)
    black = renderer(clouds[0], camera)
    over = renderer(clouds[0], camera, background)
    require_finite(over, renderer)
    require((black.alpha >= 0).all() and (black.alpha <= 1).all(), renderer, "alpha in 0..1")
    expected = black.replace(rgb=black.rgb + (1 - black.alpha) * background[:, None, None])
    require_equal(
        over, expected, renderer, "the background should fill what alpha leaves", atol=1e-4
    )
    both = renderer(stack(clouds), stack([camera, camera]), background)
    require(both.rgb.shape == (2, 3, _SIZE, _SIZE), renderer, "a batch gives [B 3 H W]")
    for index, cloud in enumerate(clouds):
        alone = renderer(cloud, camera, background)
        require_equal(both[index], alone, renderer, "scenes should not see each other", atol=atol)
    each = torch.stack([background, 1 - background])
    tinted = renderer(stack(clouds), stack([camera, camera]), each)
    second = renderer(clouds[1], camera, 1 - background)
    require_equal(tinted[1], second, renderer, "each scene may have its background", atol=atol)


def _check_gradients(renderer: GaussianRenderer, device: str) -> None:
    scene = _cloud(device, 2, count=8)
    fields = ("means", "quaternions", "scales", "opacities", "colors")
    leaves = {name: getattr(scene, name).clone().requires_grad_() for name in fields}
    target = torch.rand(3, _SIZE, _SIZE, generator=torch.Generator().manual_seed(6)).to(device)

    def loss(values: dict[str, Tensor]) -> Tensor:
        rendering = renderer(Gaussians(**values), _camera(device))
        return ((rendering.rgb - target) ** 2).mean() + rendering.alpha.mean()

    loss(leaves).backward()
    for name, leaf in leaves.items():
        require(leaf.grad is not None, renderer, f"no gradient reaches {name}")
        require(leaf.grad.isfinite().all(), renderer, f"the gradient of {name} is not finite")
    # The derivative along each gradient, against central differences. The tolerance leaves room
    # for the 1/255 below which renderers drop a Gaussian at a pixel.
    with torch.no_grad():
        for name, leaf in leaves.items():
            size = 2e-4 if name in ("means", "scales") else 1e-2
            length = leaf.grad.norm().clamp_min(1e-12)
            moved = [leaf + sign * size * leaf.grad / length for sign in (1, -1)]
            ahead, behind = (loss({**leaves, name: value}) for value in moved)
            error = abs(float((ahead - behind) / (2 * size) / length) - 1)
            require(error < 0.1, renderer, f"the gradient of {name} is off by {100 * error:.0f}%")
