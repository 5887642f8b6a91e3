"""`BatchedRasterizer`: what every rasterizer takes and gives, and the checks they share."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from presence.interfaces import MeshRasterizer
from presence.structures import Fragments

MAX_IMAGE_SIZE = 16384


class BatchedRasterizer(MeshRasterizer):
    """Finds the nearest face behind every pixel centre.

    Conventions, the same for every backend: x runs right and y down, in pixels, and pixel
    (row, column) has its centre at (column + 0.5, row + 0.5). A face is a front face when its
    corners run counter-clockwise as seen on the screen. The nearest face wins; among equally
    near faces the one with the lowest index. A face is dropped when it has no area, when a
    corner is not finite or lies more than 131,072 px off the origin, and, under perspective,
    when a corner's z is at or below `near` (faces are not clipped). A centre on an edge belongs
    to the face on one side of it, by the top-left rule.

    Nothing here is differentiable: see `presence.rasterize.interpolate`.

    Args:
        near: camera z, in metres, of the near plane.

    Example:
        >>> from presence.rasterize import CPURasterizer
        >>> corners = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 5.0, 2.0], [5.0, 0.0, 2.0]]])
        >>> fragments = CPURasterizer()(corners, torch.tensor([[0, 1, 2]]), 4, 4)
        >>> fragments.face_ids[0].tolist()
        [[0, 0, 0, 0], [0, 0, 0, -1], [0, 0, -1, -1], [0, -1, -1, -1]]
    """

    def __init__(self, *, near: float = 1e-3) -> None:
        if not near >= 0:
            raise ValueError(f"near should be at least 0 (metres), got {near}")
        self.near = float(near)

    @torch.no_grad()
    def __call__(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        *,
        cull_backfaces: bool = True,
        orthographic: bool = False,
    ) -> Fragments:
        """Rasterizes a batch of meshes that share their faces.

        Args:
            screen: [... V 3] of x px, y px, camera z in metres, float32; leading axes are batch.
            faces: [F 3] vertex indices, int64.
            height: rows of the image.
            width: columns of the image.
            cull_backfaces: whether to drop faces whose corners run clockwise on the screen.
            orthographic: barycentrics and depth are linear on the screen, and z may have any
                sign; otherwise they are perspective-correct.

        Returns:
            Fragments with the batch axes of `screen`, on its device.

        Raises:
            ValueError: a shape, dtype, device or image size does not fit.
        """
        _check(screen, faces, height, width)
        batch = screen.shape[:-2]
        flat = screen.detach().float().reshape(batch.numel(), screen.shape[-2], 3).contiguous()
        fragments = self._rasterize(
            flat, faces.contiguous(), height, width, cull_backfaces, orthographic
        )
        return Fragments(
            face_ids=fragments.face_ids.reshape(*batch, height, width),
            barycentrics=fragments.barycentrics.reshape(*batch, height, width, 3),
            depth=fragments.depth.reshape(*batch, height, width),
        )

    @abc.abstractmethod
    def _rasterize(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        cull_backfaces: bool,
        orthographic: bool,
    ) -> Fragments:
        """Does the work for checked, contiguous input with exactly one batch axis [B V 3]."""


def background(batch: int, height: int, width: int, device: torch.device) -> Fragments:
    """Returns [B] fragments in which nothing has been hit."""
    return Fragments(
        face_ids=torch.full((batch, height, width), -1, dtype=torch.int64, device=device),
        barycentrics=torch.zeros(batch, height, width, 3, device=device),
        depth=torch.full((batch, height, width), torch.inf, device=device),
    )


def _check(screen: Tensor, faces: Tensor, height: int, width: int) -> None:
    if screen.ndim < 2 or screen.shape[-1] != 3 or not screen.is_floating_point():
        raise ValueError(
            f"screen should be floating [... V 3], got {screen.dtype} {tuple(screen.shape)}"
        )
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype != torch.int64:
        raise ValueError(f"faces should be int64 [F 3], got {faces.dtype} {tuple(faces.shape)}")
    if faces.device != screen.device:
        raise ValueError(f"faces are on {faces.device}, but screen is on {screen.device}")
    if not (0 < height <= MAX_IMAGE_SIZE and 0 < width <= MAX_IMAGE_SIZE):
        raise ValueError(f"image should be 1 to {MAX_IMAGE_SIZE} px a side, got {height}x{width}")
    # On a GPU this check would make the host wait; there an index is the caller's promise.
    if faces.device.type == "cpu" and faces.numel():
        indices = faces.numpy()  # torch would wake its threads for this
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= screen.shape[-2]:
            raise ValueError(
                f"faces should index {screen.shape[-2]} vertices, but run from {low} to {high}"
            )
