"""Estimators assume fields of view of their own; Eq. 18 of the paper brings a camera to another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from presence.structures import Estimate, PartModel


def corrected(K: Tensor, translation: Tensor, width: int, fov: float) -> tuple[Tensor, Tensor]:
    """Moves camera and person so that the person's depth plane is seen as before (Eq. 18).

    f'_x = (W / 2) / tan(fov / 2), s = f'_x / f_x, f'_y = s f_y, t'_z = s t_z.

    Args:
        K: [... 3 3] px.
        translation: [... 3] m, camera axes.
        width: of the picture, px.
        fov: horizontal field of view wanted, degrees.

    Example:
        >>> K = torch.tensor([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])
        >>> corrected(K, torch.tensor([0.0, 0, 2]), 100, 90.0)[1].tolist()
        [0.0, 0.0, 1.0]
    """
    ratio = (width / 2) / math.tan(math.radians(fov) / 2) / K[..., 0, 0]
    focal = torch.stack([ratio, ratio, torch.ones_like(ratio)], -1)
    scales = torch.diag_embed(focal - 1) + torch.eye(3).to(K)
    fixed = K.clone()
    fixed[..., :2, :2] = (scales @ K)[..., :2, :2]
    nearer = torch.stack([torch.ones_like(ratio), torch.ones_like(ratio), ratio], -1)
    return fixed, translation * nearer


def with_fov(estimate: Estimate, fov: float) -> Estimate:
    """Returns an estimate whose camera has another horizontal field of view (degrees)."""
    camera = estimate.camera
    K, translation = corrected(camera.K, estimate.body.translation, camera.width, fov)
    return estimate.replace(
        camera=camera.replace(K=K),
        body=estimate.body.replace(translation=translation),
        models={part: _model(model, camera.width, fov) for part, model in estimate.models.items()},
    )


def _model(model: PartModel, width: int, fov: float) -> PartModel:
    K, translation = corrected(model.K, model.translation, width, fov)
    return model.replace(K=K, translation=translation)
