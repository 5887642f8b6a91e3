"""The Dual-UV projection: image features to Core-UV and Shell-UV (paper Eq. 2-4)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from presence.geometry import vertex_normals
from presence.interfaces import MeshRasterizer, Projector
from presence.projection.fused import can_fuse, cell_lists, project_fused
from presence.projection.rims import forget_rims
from presence.projection.surface import SurfaceMap
from presence.registry import PROJECTORS
from presence.structures import (
    Camera,
    Fragments,
    ImageFeatures,
    Portrait,
    ProxyMesh,
    UVFeatures,
)


@PROJECTORS.register()
class DualUVProjector(Projector):
    """Gathers image features at visible surface points and averages them in UV cells.

    On CUDA, where no gradients reach the features, `project_fused` does the same in few kernels.

    Args:
        surface: the texels' points on the body.
        rasterizer: finds what is visible.
        core_size: U, side of the Core-UV grid.
        shell_size: side of the coarser Shell-UV grid (not in the paper's text).
        shell_offset: delta of Eq. 4, metres (not in the paper's text).
        depth_tolerance: a point is seen if it lies at most this far behind the nearest surface
            at its pixel, metres.
        feature_stride: features are gathered at every n-th texel in both directions; the cell
            means hardly change and the cost falls by n^2. Colours are always gathered at all.
        mask_filter: when a point outside the portrait's alpha counts as unseen: the paper does
            it at test time, against misaligned meshes.
        max_raster_size: the mesh is rasterized at most this large; the long side in pixels.
        rims: pixels of that size beside another body part in which a grazing texel's colour counts
            as unseen, whenever `mask_filter` applies: for tracked bodies, which are some pixels
            off; see `presence.projection.rims`.
    """

    core_points: Tensor
    core_cells: Tensor
    core_members: Tensor
    core_starts: Tensor
    shell_points: Tensor
    shell_cells: Tensor
    shell_members: Tensor
    shell_starts: Tensor
    shell_vertex_ids: Tensor
    shell_barycentrics: Tensor

    def __init__(
        self,
        surface: SurfaceMap,
        rasterizer: MeshRasterizer,
        *,
        core_size: int = 64,
        shell_size: int = 32,
        shell_offset: float = 0.03,
        depth_tolerance: float = 0.008,
        feature_stride: int = 2,
        mask_filter: Literal["never", "test", "always"] = "test",
        max_raster_size: int = 512,
        rims: int = 0,
    ) -> None:
        super().__init__()
        self.surface, self.rasterizer = surface, rasterizer
        self.core_size, self.shell_size, self.shell_offset = core_size, shell_size, shell_offset
        self.depth_tolerance, self.mask_filter = depth_tolerance, mask_filter
        self.max_raster_size, self.rims = max_raster_size, rims
        row, column = surface.texels // surface.size, surface.texels % surface.size
        for name, stride in (("core", feature_stride), ("shell", 2 * feature_stride)):
            side = core_size if name == "core" else shell_size
            picked = ((row % stride == 0) & (column % stride == 0)).nonzero()[:, 0]
            cells = surface.cells(side)[picked]
            # The core looks at all points and lists some; the shell looks only at those listed.
            listed = picked if name == "core" else torch.arange(len(picked), device=picked.device)
            starts, members = cell_lists(cells, listed, side**2)
            constants = dict(points=picked, cells=cells, starts=starts, members=members)
            for key, value in constants.items():
                self.register_buffer(f"{name}_{key}", value, persistent=False)
        for key in ("vertex_ids", "barycentrics"):
            value = getattr(surface, key)[self.shell_points].contiguous()
            self.register_buffer(f"shell_{key}", value, persistent=False)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(
        self, features: ImageFeatures, portrait: Portrait, mesh: ProxyMesh, camera: Camera
    ) -> UVFeatures:
        """Rearranges features of a batch [B C h w] into UV; geometry stays in float32."""
        masked = self.mask_filter == "always" or (self.mask_filter == "test" and not self.training)
        if can_fuse(features, portrait, mesh):
            uv = project_fused(self, features, portrait, mesh, camera, masked=masked)
        else:
            uv = self._project(features, portrait, mesh, camera, masked)
        if not (masked and self.rims):
            return uv
        camera = self.raster_camera(camera)
        body = self._rasterize(mesh.vertices, camera)
        return forget_rims(uv, self.surface, body, mesh, camera, self.rims)

    def _project(
        self,
        features: ImageFeatures,
        portrait: Portrait,
        mesh: ProxyMesh,
        camera: Camera,
        masked: bool,
    ) -> UVFeatures:
        """The projection in torch, with gradients to the features."""
        raster_camera = self.raster_camera(camera)
        body = self._rasterize(mesh.vertices, raster_camera)
        shell_vertices = mesh.vertices + self.shell_offset * vertex_normals(
            mesh.vertices, self.surface.faces
        )
        shell = self._rasterize(shell_vertices, raster_camera)

        px, seen = self._visible(mesh.vertices, camera, raster_camera, body)  # [B N 2], [B N]
        px_shell, seen_shell = self._visible(
            shell_vertices, camera, raster_camera, shell, self.shell_points
        )
        seen_shell = seen_shell * _sample_nearest((body.face_ids < 0).float(), px_shell, camera)
        if masked:
            seen = seen * (_sample(portrait.alpha, px, camera)[..., 0] > 0.5)
            seen_shell = seen_shell * (_sample(portrait.alpha, px_shell, camera)[..., 0] > 0.5)

        core, core_seen = self._scatter(
            features, px[:, self.core_points], seen[:, self.core_points], camera, "core"
        )
        shell_grid, shell_seen = self._scatter(features, px_shell, seen_shell, camera, "shell")
        colours = _sample(portrait.rgb, px, camera) * (seen > 0)[..., None]
        texels = self.surface.to_map(torch.cat([colours, seen[..., None]], -1))
        return UVFeatures(core, core_seen, shell_grid, shell_seen, texels[:, :3], texels[:, 3:])

    def raster_camera(self, camera: Camera) -> Camera:
        """Returns the camera of the picture in which visibility is tested."""
        scale = min(1.0, self.max_raster_size / max(camera.width, camera.height))
        return camera.resized(round(camera.width * scale), round(camera.height * scale))

    def _rasterize(self, vertices: Tensor, camera: Camera) -> Fragments:
        screen = camera.screen(vertices)
        return self.rasterizer(screen, self.surface.faces, camera.height, camera.width)

    def _visible(
        self,
        vertices: Tensor,
        camera: Camera,
        raster_camera: Camera,
        fragments: Fragments,
        points: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Projects surface points and tests them against the z-buffer.

        Returns:
            px: [B N 2] pixels of the portrait.
            seen: [B N] v_i of Eq. 3: 0 where hidden, else the cosine between the surface normal
                and the direction to the camera, so that grazing copies can be trusted less.
        """
        chosen = slice(None) if points is None else points
        vertex_ids = self.surface.vertex_ids[chosen]
        weights = self.surface.barycentrics[chosen]
        cam = camera.to_cam(vertices)
        corners = [cam[:, vertex_ids[:, k]] for k in range(3)]
        position = (torch.stack(corners, -1) * weights[:, None, :]).sum(-1)  # [B N 3]
        normal = torch.linalg.cross(corners[1] - corners[0], corners[2] - corners[0])
        cosine = -F.cosine_similarity(normal, position, dim=-1)
        depth = position[..., 2]
        px = (position / depth.clamp_min(1e-6)[..., None]) @ camera.K.transpose(-1, -2)
        px = px[..., :2]
        nearest = _sample_nearest(fragments.depth, px, camera)
        x, y = px.unbind(-1)
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height) & (depth > 0)
        # A sloped surface changes depth within a pixel: grazing points need more room.
        slack = self.depth_tolerance * (1 + 1 / cosine.clamp(0.1, 1.0))
        seen = inside & (cosine > 0) & (depth <= nearest + slack)
        return px, cosine * seen

    def _scatter(
        self, features: ImageFeatures, px: Tensor, seen: Tensor, camera: Camera, branch: str
    ) -> tuple[Tensor, Tensor]:
        """Averages features of seen points in each UV cell (Eq. 3, nearest-cell kernel)."""
        grid = self.core_size if branch == "core" else self.shell_size
        cells = getattr(self, f"{branch}_cells")
        weight = (seen > 0).float()
        sampled = _sample(features.grid.float(), px, camera) * weight[..., None]  # [B N C]
        batch, _, channels = sampled.shape
        total = sampled.new_zeros(batch, grid**2, channels).index_add(1, cells, sampled)
        count = weight.new_zeros(batch, grid**2).index_add(1, cells, weight)
        members = getattr(self, f"{branch}_starts").diff().clamp_min(1)
        mean = total / (count[..., None] + 1e-6)
        share = count / members
        unflat = (grid, grid)
        return (
            mean.transpose(1, 2).unflatten(-1, unflat),
            share[:, None].unflatten(-1, unflat),
        )


def _to_unit(px: Tensor, camera: Camera) -> Tensor:
    x, y = px.unbind(-1)
    return torch.stack([2 * x / camera.width - 1, 2 * y / camera.height - 1], -1)


def _sample(maps: Tensor, px: Tensor, camera: Camera) -> Tensor:
    """Samples maps [B C h w] that span the picture bilinearly at pixels [B N 2] to [B N C]."""
    grid = _to_unit(px, camera)[:, :, None]
    return F.grid_sample(maps, grid, align_corners=False)[..., 0].transpose(1, 2)


def _sample_nearest(maps: Tensor, px: Tensor, camera: Camera) -> Tensor:
    """Reads maps [B h w] at the cell that holds each pixel position [B N 2] to [B N]."""
    height, width = maps.shape[-2:]
    column = (px[..., 0] * (width / camera.width)).long().clamp(0, width - 1)
    row = (px[..., 1] * (height / camera.height)).long().clamp(0, height - 1)
    return maps.flatten(1).gather(1, row * width + column)
