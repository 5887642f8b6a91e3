"""`PyTorch3DRasterizer`: the same interface over PyTorch3D, for comparison and older GPUs."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.errors import AssetError
from presence.rasterize.base import BatchedRasterizer, background
from presence.rasterize.fixed_point import UNUSABLE, to_fixed_point
from presence.registry import RASTERIZERS
from presence.structures import Fragments


@RASTERIZERS.register()
class PyTorch3DRasterizer(BatchedRasterizer):
    """Rasterizes through `pytorch3d.renderer.mesh.rasterize_meshes`.

    PyTorch3D decides coverage in floating point and leaves out centres that lie exactly on an
    edge, so single pixels on edges may differ from the other backends.

    Args:
        near: camera z, in metres, of the near plane.

    Raises:
        AssetError: when called and PyTorch3D is not installed.
    """

    def _rasterize(
        self,
        screen: Tensor,
        faces: Tensor,
        height: int,
        width: int,
        cull_backfaces: bool,
        orthographic: bool,
    ) -> Fragments:
        rasterize_meshes, meshes_type = _load()
        out = background(len(screen), height, width, screen.device)
        if not len(screen) or not len(faces):
            return out
        corners = to_ndc(screen, height, width)[:, faces]  # [B, F, 3 corners, 3]
        fixed = to_fixed_point(screen, near=self.near, orthographic=orthographic)
        dropped = (fixed[:, faces] == UNUSABLE).any(-1).any(-1)  # [B, F]
        corners = torch.where(dropped[..., None, None], 0, corners)  # no area: skipped
        offset = torch.zeros((), device=screen.device)
        if orthographic:  # PyTorch3D skips faces with a corner at z <= 0
            offset = corners[..., 2].min() - 1
            corners = torch.cat([corners[..., :2], corners[..., 2:] - offset], dim=-1)
        count = len(faces)
        own = torch.arange(count * 3, device=screen.device).reshape(1, count, 3)
        meshes = meshes_type(corners.flatten(1, 2), own.expand(len(screen), -1, -1))
        ids, depth, weights, _ = rasterize_meshes(
            meshes,
            image_size=(height, width),
            blur_radius=0.0,
            faces_per_pixel=1,
            max_faces_per_bin=max(10_000, count),
            perspective_correct=not orthographic,
            cull_backfaces=cull_backfaces,
        )
        ids, depth, weights = ids[..., 0], depth[..., 0], weights[..., 0, :]
        hit = ids >= 0
        return Fragments(
            face_ids=torch.where(hit, ids % count, -1),
            barycentrics=torch.where(hit[..., None], weights, 0),
            depth=torch.where(hit, depth + offset, torch.inf),
        )


def to_ndc(screen: Tensor, height: int, width: int) -> Tensor:
    """Turns our pixels into PyTorch3D's normalised coordinates.

    Theirs have +x left and +y up, and the shorter side of the picture runs from -1 to 1. Both
    axes turn around, so the orientation of faces stays.

    Args:
        screen: [... 3] of x px, y px, camera z.
        height: rows of the image.
        width: columns of the image.

    Returns:
        [... 3] of x and y normalised, camera z unchanged.

    Example:
        >>> to_ndc(torch.tensor([0.0, 0.0, 5.0]), 100, 200).tolist()
        [2.0, 1.0, 5.0]
    """
    x, y, z = screen.unbind(-1)
    short = min(height, width)
    return torch.stack([(width - 2 * x) / short, (height - 2 * y) / short, z], dim=-1)


def _load() -> tuple:
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise AssetError(
            "PyTorch3DRasterizer needs the package `pytorch3d`, built for the installed torch "
            f"({error}). It has no wheels on PyPI: see its INSTALL.md, or use the rasterizer "
            "`auto`, which needs nothing more."
        ) from error
    return rasterize_meshes, Meshes
