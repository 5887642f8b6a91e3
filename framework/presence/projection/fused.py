"""The Dual-UV projection in a few kernels: nothing of size points x channels is ever stored."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from presence.geometry import vertex_normals
from presence.structures import Camera, Fragments, ImageFeatures, Portrait, ProxyMesh, UVFeatures

if TYPE_CHECKING:
    from presence.projection.dual_uv import DualUVProjector

POINTS_PER_PROGRAM = 128
CHANNELS_PER_PROGRAM = 512


def can_fuse(features: ImageFeatures, portrait: Portrait, mesh: ProxyMesh) -> bool:
    """Whether `project_fused` may stand in for torch: on CUDA, and no gradients to the features."""
    tensors = (features.grid, portrait.rgb, portrait.alpha, mesh.vertices)
    if not all(t.is_cuda for t in tensors) or not _triton_there():
        return False
    return not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))


@torch.no_grad()
def project_fused(
    projector: DualUVProjector,
    features: ImageFeatures,
    portrait: Portrait,
    mesh: ProxyMesh,
    camera: Camera,
    *,
    masked: bool,
) -> UVFeatures:
    """Does what `DualUVProjector.forward` does, without gradients and without host syncs.

    Args:
        projector: its settings and constants.
        features: [B C h w]; laid out channels last they are read as they are.
        portrait: [B].
        mesh: [B], posed.
        camera: [B].
        masked: whether points outside the portrait's alpha count as unseen.
    """
    surface = projector.surface
    batch = len(mesh.vertices)
    shell = mesh.vertices + projector.shell_offset * vertex_normals(mesh.vertices, surface.faces)
    raster_camera = projector.raster_camera(camera)
    screens = torch.cat([raster_camera.screen(v) for v in (mesh.vertices, shell)])
    both = projector.rasterizer(
        screens, surface.faces, raster_camera.height, raster_camera.width
    )  # [2B h w]: body and shell in one call
    body = both[:batch]
    size = surface.size
    texels = mesh.vertices.new_zeros(batch, 4, size, size)
    px, seen = _look(projector, mesh.vertices, camera, body, body, portrait, texels, "core", masked)
    px_shell, seen_shell = _look(
        projector, shell, camera, both[batch:], body, portrait, texels, "shell", masked
    )
    grid = channels_last(features.grid)
    core, core_seen = _average(projector, grid, px, seen, camera, "core")
    shell_grid, shell_seen = _average(projector, grid, px_shell, seen_shell, camera, "shell")
    return UVFeatures(core, core_seen, shell_grid, shell_seen, texels[:, :3], texels[:, 3:])


def _look(
    projector: DualUVProjector,
    vertices: Tensor,
    camera: Camera,
    fragments: Fragments,
    body: Fragments,
    portrait: Portrait,
    texels: Tensor,
    branch: str,
    masked: bool,
) -> tuple[Tensor, Tensor]:
    """Returns pixels [B N 2] and visibility [B N] of a branch's points; the core fills `texels`."""
    from presence.projection import kernels

    surface, shell = projector.surface, branch == "shell"
    ids = projector.shell_vertex_ids if shell else surface.vertex_ids
    weights = projector.shell_barycentrics if shell else surface.barycentrics
    batch, points = len(vertices), len(ids)
    positions, seen = vertices.new_empty(batch, points, 2), vertices.new_empty(batch, points)
    with _on(vertices):
        kernels.look_at_points[(-(-points // POINTS_PER_PROGRAM), batch)](
            camera.to_cam(vertices).contiguous(),
            ids,
            weights,
            camera.K.float().contiguous(),
            fragments.depth.contiguous(),
            body.face_ids.contiguous(),
            portrait.rgb.contiguous(),
            portrait.alpha.contiguous(),
            surface.texels,
            positions,
            seen,
            texels,
            vertices.shape[1],
            points,
            camera.width,
            camera.height,
            fragments.depth.shape[-1],
            fragments.depth.shape[-2],
            surface.size,
            projector.depth_tolerance,
            SHELL=shell,
            MASKED=masked,
            BLOCK=POINTS_PER_PROGRAM,
        )
    return positions, seen


def _average(
    projector: DualUVProjector,
    grid: Tensor,
    px: Tensor,
    seen: Tensor,
    camera: Camera,
    branch: str,
) -> tuple[Tensor, Tensor]:
    """Returns a branch's cell means [B C U U] and seen shares [B 1 U U]."""
    from presence.projection import kernels

    side = projector.core_size if branch == "core" else projector.shell_size
    batch, channels, rows, columns = grid.shape
    mean = px.new_empty(batch, side**2, channels)
    share = px.new_empty(batch, side**2)
    block = min(CHANNELS_PER_PROGRAM, max(16, 1 << (channels - 1).bit_length()))
    with _on(px):
        kernels.average_cells[(side**2, -(-channels // block), batch)](
            grid,
            px,
            seen,
            getattr(projector, f"{branch}_starts"),
            getattr(projector, f"{branch}_members"),
            mean,
            share,
            *grid.stride(),
            channels,
            rows,
            columns,
            px.shape[1],
            camera.width,
            camera.height,
            side**2,
            BLOCK=block,
        )
    unflat = (side, side)
    return mean.transpose(1, 2).unflatten(-1, unflat), share[:, None].unflatten(-1, unflat)


def channels_last(grid: Tensor) -> Tensor:
    """Returns maps [B C h w] whose channels lie side by side; transformers' tokens already do."""
    if grid.stride(1) == 1:
        return grid
    return grid.contiguous(memory_format=torch.channels_last)


def cell_lists(cells: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the points of each cell: starts [count+1] int32 into members [M] int32.

    Args:
        cells: [M] the cell of each point.
        rows: [M] what to list for it.
        count: number of cells.

    Example:
        >>> starts, members = cell_lists(torch.tensor([2, 0, 2]), torch.tensor([7, 8, 9]), 3)
        >>> starts.tolist(), members.tolist()
        ([0, 1, 1, 3], [8, 7, 9])
    """
    order = cells.argsort(stable=True)
    bounds = torch.arange(count + 1, device=cells.device)
    starts = torch.searchsorted(cells[order].contiguous(), bounds)
    return starts.int(), rows[order].int()


def _on(like: Tensor) -> contextlib.AbstractContextManager:
    return torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()


@functools.cache
def _triton_there() -> bool:
    return importlib.util.find_spec("triton") is not None
