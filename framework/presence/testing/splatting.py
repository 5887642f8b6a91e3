"""A slow, dense float64 Gaussian renderer in plain torch, and random scenes to hold others to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.structures import Camera, Gaussians, Rendering, stack


def render_reference(
    gaussians: Gaussians,
    camera: Camera,
    background: Tensor | None = None,
    *,
    eps2d: float = 0.3,
    near: float = 0.01,
) -> Rendering:
    """Evaluates every Gaussian at every pixel in float64; differentiable by autograd.

    Written from the definition (Kerbl et al. 2023, section 4 and Eq. 3, with gsplat 1.5's
    rules) and sharing no code with the renderers: full 3D covariances, no tiles, no bounds.
    Memory grows with Gaussians times pixels.

    Args:
        gaussians: [N], no batch axes.
        camera: no batch axes.
        background: [3], black if None.
        eps2d: px^2 added to the projected variances.
        near: metres.
    """
    g, camera = gaussians.to(torch.float64), camera.to(torch.float64)
    z = camera.to_cam(g.means)[:, 2]
    order = z.argsort(stable=True)
    order = order[z[order] >= near]
    g, z = g.map(lambda value: value[order]), z[order]
    centers, covariances = _project(g, camera, eps2d)
    precision = torch.linalg.inv(covariances)
    y, x = torch.meshgrid(
        torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
    )
    pixels = torch.stack([x, y], -1).reshape(-1, 2).double()
    offsets = pixels - centers[:, None]  # [N P 2]
    sigma = 0.5 * torch.einsum("npi,nij,npj->np", offsets, precision, offsets)
    alpha = (g.opacities[:, None] * torch.exp(-sigma)).clamp(max=0.999)
    alpha = torch.where(alpha < 1 / 255, 0.0, alpha)
    # A finished pixel stays finished: the product only falls.
    alpha = torch.where(torch.cumprod(1 - alpha, 0) > 1e-4, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = alpha * before  # [N P]
    total = weights.sum(0)
    rgb = g.colors.T @ weights
    if background is not None:
        rgb = rgb + background.double()[:, None] * (1 - total)
    depth = z @ weights / total.clamp_min(1e-10)
    size = (camera.height, camera.width)
    return Rendering(rgb=rgb.view(3, *size), alpha=total.view(1, *size), depth=depth.view(1, *size))


def clear_of_threshold(
    gaussians: Gaussians, camera: Camera, *, eps2d: float = 0.3, tolerance: float = 1e-3
) -> Gaussians:
    """Makes invisible the Gaussians that have a pixel where alpha is 1/255 up to rounding.

    There a contribution is drawn or skipped by the last bits of float32, so two right renderers
    differ by up to 1/255. Comparing them closely needs a scene without such pixels.

    Args:
        gaussians: [... N].
        camera: batched alike.
        eps2d: px^2 added to the projected variances.
        tolerance: relative distance of alpha from 1/255 that counts as undecided.
    """
    if gaussians.batch_shape:
        pairs = [
            clear_of_threshold(gaussians[i], camera[i], eps2d=eps2d, tolerance=tolerance)
            for i in range(gaussians.batch_shape[0])
        ]
        return stack(pairs)
    centers, covariances = _project(gaussians.to(torch.float64), camera.to(torch.float64), eps2d)
    reach = math.ceil(3.4 * covariances.diagonal(dim1=-2, dim2=-1).max().sqrt())
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    window = torch.stack([x, y], -1).view(-1, 2) + 0.5
    undecided = []
    for centre, cov, opacity in zip(
        centers.split(1000), covariances.split(1000), gaussians.opacities.double().split(1000)
    ):
        offsets = centre.floor()[:, None] + window - centre[:, None]  # [n P 2]
        sigma = 0.5 * ((offsets @ torch.linalg.inv(cov)) * offsets).sum(-1)
        distance = (torch.log(opacity * 255)[:, None] - sigma).abs()
        undecided.append((distance < tolerance).any(-1))
    hidden = torch.cat(undecided)
    return gaussians.replace(opacities=gaussians.opacities.masked_fill(hidden, 0.0))


def _project(gaussians: Gaussians, camera: Camera, eps2d: float) -> tuple[Tensor, Tensor]:
    """Returns projected centres [N 2] and blurred covariances [N 2 2], in pixels."""
    rotation = camera.cam_from_world[:3, :3]
    means = camera.to_cam(gaussians.means)
    spread = rotation @ _covariance(gaussians.quaternions, gaussians.scales) @ rotation.T
    J = _projection_jacobian(means, camera.K, camera.width, camera.height)
    blur = eps2d * torch.eye(2, dtype=means.dtype)
    return (means / means[:, 2:] @ camera.K.T)[:, :2], J @ spread @ J.mT + blur


def _covariance(quaternions: Tensor, scales: Tensor) -> Tensor:
    """Returns [N 3 3] from wxyz quaternions [N 4] and standard deviations [N 3]."""
    q = quaternions / quaternions.norm(dim=-1, keepdim=True)
    w, v = q[:, 0, None, None], q[:, 1:]
    zero = torch.zeros_like(v[:, 0])
    cross = torch.stack(
        [zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero], -1
    ).view(-1, 3, 3)
    # Rodrigues' formula in quaternion form: R = I + 2 w [v]x + 2 [v]x^2.
    R = torch.eye(3, dtype=q.dtype) + 2 * w * cross + 2 * cross @ cross
    return R @ torch.diag_embed(scales.square()) @ R.mT


def _projection_jacobian(means: Tensor, K: Tensor, width: int, height: int) -> Tensor:
    """Returns d(pixel)/d(camera point) [N 2 3], with x/z and y/z clamped as gsplat does."""
    z = means[:, 2]
    rows = []
    for axis, size in ((0, width), (1, height)):
        focal, centre = K[axis, axis], K[axis, 2]
        slack = 0.15 * size / focal  # 0.3 of half the view.
        slope = (means[:, axis] / z).clamp(
            min=float(-centre / focal - slack), max=float((size - centre) / focal + slack)
        )
        row = [torch.zeros_like(z), torch.zeros_like(z), -focal * slope / z]
        row[axis] = focal / z
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def random_scene(
    count: int,
    *,
    width: int,
    height: int,
    seed: int = 0,
    batch: tuple[int, ...] = (),
    scale_px: tuple[float, float] = (1.0, 6.0),
    opacity: tuple[float, float] = (0.05, 1.0),
    spread: float = 1.3,
) -> tuple[Gaussians, Camera]:
    """Returns Gaussians around what a randomly placed camera sees, from 1 m to 3 m away.

    Depths are drawn one per stratum and shuffled, so that no two are so close that float32
    rounding decides their order.

    Args:
        count: Gaussians in a set.
        width: pixels.
        height: pixels.
        seed: the same scene for the same seed.
        batch: batch axes of both.
        scale_px: range of the standard deviations, in pixels at the Gaussian's depth.
        opacity: range of opacities.
        spread: how far the means reach, 1 being the edge of the picture.
    """
    rng = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(*batch, *shape, generator=rng, dtype=torch.float64)
        return low + (high - low) * drawn

    focal = 1.2 * max(width, height)
    K = torch.tensor([[focal, 0, width * 0.47], [0, focal * 1.05, height * 0.52], [0, 0, 1.0]])
    strata = uniform(count).argsort(-1) + uniform(count, low=0.25, high=0.75)
    z = 1.0 + 2.0 * strata / count
    scale = uniform(count, 3, low=scale_px[0], high=scale_px[1]) * z[..., None] / focal
    edge = torch.tensor([width, height]) / (2 * focal)
    xy = uniform(count, 2, low=-spread, high=spread) * edge * z[..., None]
    cam = torch.cat([xy, z[..., None]], -1)
    # A proper rotation from a random matrix's QR decomposition.
    axes = torch.linalg.qr(uniform(3, 3, low=-1.0)).Q
    axes = axes * torch.linalg.det(axes)[..., None, None]
    translation = uniform(3, low=-1.0)
    cam_from_world = torch.eye(4, dtype=torch.float64).repeat(*batch, 1, 1)
    cam_from_world[..., :3, :3], cam_from_world[..., :3, 3] = axes, translation
    gaussians = Gaussians(
        means=((cam - translation[..., None, :]) @ axes).float(),
        quaternions=uniform(count, 4, low=-1.0).float(),
        scales=scale.float(),
        opacities=uniform(count, low=opacity[0], high=opacity[1]).float(),
        colors=uniform(count, 3).float(),
    )
    K = K.expand(*batch, 3, 3).clone()
    return gaussians, Camera(K=K, cam_from_world=cam_from_world.float(), width=width, height=height)
