"""What a profile runs on: a model of a config, a made-up person and Gaussians of a real size."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.geometry import matrix_to_quaternion
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    Portrait,
    SurfaceBinding,
    TrainSample,
    View,
)

FOV = math.radians(20)


def camera_of(mesh_height: float, middle: float, size: int, batch: int, device: Any) -> Camera:
    """Returns [batch] cameras around a body that fills the picture."""
    distance = 0.55 * mesh_height / math.tan(FOV / 2)
    angle = torch.linspace(0, 0.5, batch) if batch > 1 else torch.zeros(1)
    eye = torch.stack(
        [distance * angle.sin(), torch.full_like(angle, middle), distance * angle.cos()], -1
    )
    target = torch.tensor([0.0, middle, 0.0]).expand(batch, 3)
    return Camera.look_at(eye, target, FOV, size, size).to(device)


def whole_body(body: Any, size: int, batch: int, device: Any) -> Camera:
    """Returns [batch] cameras that see the whole body in its rest pose."""
    height = body(body.default_params()).vertices[:, 1]
    low, high = float(height.min()), float(height.max())
    return camera_of(high - low, (high + low) / 2, size, batch, device)


def some_pose(body: Any, batch: int, device: Any, seed: int = 0) -> BodyParams:
    """Returns [batch] small random poses."""
    generator = torch.Generator().manual_seed(seed)
    params = body.default_params((batch,))
    pose = 0.1 * torch.randn(params.pose.shape, generator=generator)
    expression = 0.3 * torch.rand(params.expression.shape, generator=generator)
    return params.replace(pose=pose.to(device), expression=expression.to(device))


def some_sample(body: Any, size: int, batch: int, device: Any) -> TrainSample:
    """Returns a batch of random pictures of bodies that fill them; only the cost is real."""
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(batch, 3, size, size, generator=generator).to(device)
    alpha = torch.ones(batch, 1, size, size, device=device)
    camera = whole_body(body, size, batch, device)
    portrait = Portrait(rgb, alpha)
    reference = View(portrait, some_pose(body, batch, device, 1), camera)
    target = View(portrait, some_pose(body, batch, device, 2), camera)
    return TrainSample(reference, target, torch.zeros(batch, dtype=torch.int64, device=device))


def dense_avatar(body: Any, surface: Any, points: int, device: Any) -> Avatar:
    """Returns an avatar of exactly `points` Gaussians, as large as their spacing on the surface.

    Args:
        body: the body model.
        surface: texels' points on it; repeated from the start where there are fewer.
        points: Gaussians.
        device: where it goes.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    params = body.default_params()
    chosen = torch.arange(points, device=device) % len(surface)
    frames, spacing = surface.tangent_frames(body(params).rest_vertices)
    sizes = torch.cat([spacing, spacing.amin(-1, keepdim=True)], -1).clamp(2e-4, 2e-2)
    gaussians = Gaussians(
        means=0.004 * (random(points, 3) - 0.5),
        quaternions=F.normalize(matrix_to_quaternion(frames)[chosen], dim=-1),
        scales=0.6 * sizes[chosen],
        opacities=0.85 + 0.1 * random(points),
        colors=random(points, 3),
    )
    binding = SurfaceBinding(
        surface.vertex_ids[chosen], surface.barycentrics[chosen], surface.uv[chosen]
    )
    return Avatar(gaussians, params, whole_body(body, 512, 1, device)[0], binding)


def also(model: Any, portrait: Portrait, posed: Any) -> dict[str, Any]:
    """Returns what a decoder asks for besides features: the portrait, the posed mesh."""
    wanted = getattr(model.decoder, "also", ())
    return {k: v for k, v in dict(portrait=portrait, posed=posed).items() if k in wanted}
