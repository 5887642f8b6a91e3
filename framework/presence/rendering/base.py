"""What every Gaussian renderer does alike: conventions, batch axes, float32, the empty set."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod

import torch
from torch import Tensor

from presence.interfaces import GaussianRenderer
from presence.structures import Camera, Gaussians, Rendering


class BatchedRenderer(GaussianRenderer):
    """Base of the renderers: turns any batch axes into one, and leaves the drawing to children.

    All follow the conventions of gsplat 1.5 (`rasterize_mode="classic"`), so a model trained
    with one renders the same with another: EWA projection with the Jacobian clamped beyond 1.3
    times the field of view, alpha = min(0.999, opacity exp(-sigma)), contributions under 1/255
    skipped, a pixel finished before its transmittance falls to 1e-4, Gaussians sorted by the
    camera z of their means, pixel centres at +0.5. Skew in `K` is ignored.

    Arithmetic is float32 or better, also under autocast. Gradients flow to all fields of the
    Gaussians and to the background; those of the camera are not part of the contract.

    Args:
        eps2d: variance added to the projected Gaussians in x and y, px^2.
        near: Gaussians whose mean is nearer than this are dropped, metres.
    """

    def __init__(self, *, eps2d: float = 0.3, near: float = 0.01) -> None:
        if eps2d < 0 or near <= 0:
            raise ValueError(f"eps2d must not be negative and near positive, got {eps2d}, {near}")
        self.eps2d, self.near = float(eps2d), float(near)

    def __call__(
        self, gaussians: Gaussians, camera: Camera, background: Tensor | None = None
    ) -> Rendering:
        """Renders Gaussians [... N] through cameras [...].

        Args:
            gaussians: world metres; batch axes broadcast against those of the others.
            camera: where from, and the picture's size.
            background: [... 3] colour behind everything, 0..1; None is black.

        Returns:
            Pictures with the broadcast batch axes: rgb over the background, alpha, and depth
            (the alpha-weighted mean of camera z in metres, 0 where nothing is).

        Raises:
            ValueError: batch axes do not broadcast, or Gaussians and camera are on two devices.
        """
        if background is None:
            background = gaussians.means.new_zeros(3)
        batch = _common_batch(gaussians, camera, background)
        height, width = int(camera.height), int(camera.width)
        flat = {
            field.name: _flatten(getattr(gaussians, field.name), batch, gaussians.batch_shape)
            for field in dataclasses.fields(Gaussians)  # and no features
        }
        K = _flatten(camera.K, batch, camera.batch_shape)
        cam_from_world = _flatten(camera.cam_from_world, batch, camera.batch_shape)
        backdrop = _flatten(background.to(gaussians.device), batch, background.shape[:-1])
        if gaussians.means.shape[-2] and batch.numel():
            with torch.autocast(gaussians.device.type, enabled=False):
                rgb, alpha, depth = self.render_batch(
                    Gaussians(**flat), K, cam_from_world, backdrop, height, width
                )
        else:  # Nothing to draw; the kernels need not know this case.
            rgb = backdrop[:, :, None, None].expand(-1, -1, height, width)
            alpha = depth = rgb.new_zeros(len(rgb), 1, height, width)
        return Rendering(
            rgb=rgb.reshape(*batch, 3, height, width),
            alpha=alpha.reshape(*batch, 1, height, width),
            depth=depth.reshape(*batch, 1, height, width),
        )

    @abstractmethod
    def render_batch(
        self,
        gaussians: Gaussians,
        K: Tensor,
        cam_from_world: Tensor,
        background: Tensor,
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Renders B > 0 sets of N > 0 Gaussians, each through its own camera; autocast is off.

        Args:
            gaussians: fields [B N ...] float32.
            K: [B 3 3] float32, pixels.
            cam_from_world: [B 4 4] float32, metres.
            background: [B 3] float32.
            height: pixels.
            width: pixels.

        Returns:
            rgb [B 3 H W] over the background, alpha [B 1 H W], depth [B 1 H W].
        """


def _common_batch(gaussians: Gaussians, camera: Camera, background: Tensor) -> torch.Size:
    if background.ndim == 0 or background.shape[-1] != 3:
        raise ValueError(f"background should end in [3], but has shape {tuple(background.shape)}")
    if camera.device != gaussians.device:
        raise ValueError(f"Gaussians are on {gaussians.device}, the camera is on {camera.device}")
    shapes = {
        "Gaussians": gaussians.batch_shape,
        "camera": camera.batch_shape,
        "background": tuple(background.shape[:-1]),
    }
    try:
        return torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"batch axes do not broadcast: {listed}") from None


def _flatten(value: Tensor, batch: torch.Size, own_batch: tuple[int, ...]) -> Tensor:
    """Expands the batch axes of `value` to `batch` and merges them into one; float32."""
    trailing = value.shape[len(own_batch) :]
    return value.float().expand(*batch, *trailing).reshape(batch.numel(), *trailing)
