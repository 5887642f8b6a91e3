"""The GUAVA decoder (Zhang et al., ICCV 2025): vertices and texels as Gaussians, then a refiner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import AssetError, ConfigError
from presence.interfaces import Body, Decoder, GaussianRenderer, MeshRasterizer
from presence.models.official import OfficialLayout
from presence.models.training_files import read_nested
from presence.projection import SurfaceMap
from presence.projection.queries import join, subdivided_vertices
from presence.registry import DECODERS
from presence.rendering.features import splat_features
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    FeatureGaussians,
    Gaussians,
    ImageFeatures,
    Portrait,
    ProxyMesh,
    Rendering,
    SurfaceBinding,
)
from presence_plugins.decoders.guava_heads import (
    TexelHeads,
    VertexHeads,
    mapping,
    place_texels,
    view_code,
)
from presence_plugins.decoders.guava_names import IGNORED, official_name
from presence_plugins.decoders.guava_pyramid import ImagePyramid
from presence_plugins.decoders.styleunet import Noise, StyleUNet

_MAPS = 5  # that the pyramid takes
_PREFIX = "decoder."


def read_guava(path: str | Path) -> dict[str, Tensor]:
    """Reads a released file: the two networks in it, their entry's name before each weight's."""
    nested = read_nested(path)
    missing = [entry for entry in ("model", "render_model") if entry not in nested]
    if missing:
        raise AssetError(f"{path} is no GUAVA checkpoint: it lacks the entry {missing[0]}")
    return {
        f"{entry}.{name}": value
        for entry in ("model", "render_model")
        for name, value in nested[entry].items()
    }


@DECODERS.register()
class GUAVADecoder(Decoder):
    """Two branches of Gaussians with many-channelled colours, and a network that draws from them.

    The template branch places one Gaussian on every vertex. The UV branch carries the portrait's
    colours and features to the texels that are seen, inpaints the map with a StyleUNet and places
    one Gaussian on every texel. The first three colour channels are RGB; all of them are
    splatted, and the refiner turns the result into the picture. An avatar file holds the RGB
    alone, so what is animated from a file is the raw rendering, which training supervises too.

    Defaults are the released model's. Three things differ from it: texels ride the surface by
    blended skinning, not by the frame of their triangle in each pose; the teeth that it adds to
    the body are not drawn; Gaussians of low opacity are not dropped.

    Args:
        body: names the vertices.
        surface: the texels; the map's side is the StyleUNet's, a power of two.
        rasterizer: finds the faces that the portrait shows.
        in_channels: channels of the features: `layers` maps one after another.
        layers: maps of the encoder that the features hold: five (the first is the one for fine
            detail, the last gives the global vector), or one that stands for all five.
        pool: the global vector: `"first"` patch of the last map, as released, or the `"mean"`.
        image_size: side of the feature maps, and of the refiner.
        levels: channels of the pyramid's levels.
        uv_channels: features a texel samples.
        vertex_channels: features a vertex samples.
        vertex_learned: learned features of a vertex.
        vertex_global: channels of the global vector at a vertex.
        uv_inpainted: channels of the inpainted map.
        uv_learned: channels of the learned map beside it.
        colors: F, channels of a colour; more than three, the first being RGB.
        style: channels of the styles.
        scale: of the StyleUNets' widths.
        width: hidden channels of the heads.
        teeth: learned rows for vertices that the body does not have; not drawn.
        refine_output: whether the refiner draws the picture; without it colours are the RGB.
        max_rasterized: longer side at which faces are looked for, pixels.
    """

    needs: ClassVar[Literal["uv", "image"]] = "image"
    also: ClassVar[tuple[Literal["portrait", "posed"], ...]] = ("portrait", "posed")
    official: ClassVar[OfficialLayout] = OfficialLayout(
        name=lambda name: official_name(name.removeprefix(_PREFIX)),
        ignored=IGNORED,
        read=read_guava,
    )

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        rasterizer: MeshRasterizer,
        *,
        in_channels: int = _MAPS * 768,
        layers: int = _MAPS,
        pool: Literal["first", "mean"] = "first",
        image_size: int = 512,
        levels: Sequence[int] = (256, 512, 1024, 1024),
        uv_channels: int = 32,
        vertex_channels: int = 128,
        vertex_learned: int = 128,
        vertex_global: int = 256,
        uv_inpainted: int = 96,
        uv_learned: int = 32,
        colors: int = 32,
        style: int = 512,
        scale: float = 1.0,
        width: int = 128,
        teeth: int = 0,
        refine_output: bool = True,
        max_rasterized: int = 512,
    ) -> None:
        super().__init__()
        if layers not in (1, _MAPS) or in_channels % layers:
            raise ConfigError(
                f"GUAVADecoder takes 1 or {_MAPS} equal maps, not layers={layers} of "
                f"{in_channels} channels"
            )
        if colors < 4:
            raise ConfigError(f"colors={colors} should be RGB and at least one channel more")
        self.surface, self.rasterizer, self.layers, self.pool = surface, rasterizer, layers, pool
        self.max_rasterized = max_rasterized
        self.count = body.topology.num_vertices
        channels = in_channels // layers
        self.pyramid = ImagePyramid(
            channels,
            levels,
            uv_channels=uv_channels,
            vertex_channels=vertex_channels,
            size=image_size,
        )
        self.vertex_features = nn.Parameter(torch.randn(self.count + teeth, vertex_learned))
        self.uv_features = nn.Parameter(torch.randn(uv_learned, surface.size, surface.size))
        self.to_global = mapping(channels, vertex_global)
        self.to_style = mapping(channels, style)
        sampled = vertex_channels + vertex_learned + vertex_global
        self.vertices = VertexHeads(sampled, colors, hidden=width)
        self.inpaint = StyleUNet(
            3 + uv_channels, uv_inpainted, surface.size, style=style, scale=scale, global_style=True
        )
        self.texels = TexelHeads(uv_inpainted + uv_learned, colors, width=width)
        self.refiner: StyleUNet | None = None
        if refine_output:
            self.refiner = StyleUNet(colors, 3, image_size, style=style, scale=scale, small=True)
        binding = join(_all_vertices(body), surface.binding.to("cpu"))
        for name in ("vertex_ids", "barycentrics", "uv"):
            self.register_buffer(f"bound_{name}", getattr(binding, name), persistent=False)

    @property
    def binding(self) -> SurfaceBinding:
        """Every vertex, then every texel."""
        bound = (getattr(self, f"bound_{n}") for n in ("vertex_ids", "barycentrics", "uv"))
        return SurfaceBinding(*bound)

    def forward(  # type: ignore[override]
        self,
        features: ImageFeatures,
        canonical: ProxyMesh,
        body: BodyParams,
        camera: Camera,
        *,
        portrait: Portrait,
        posed: ProxyMesh,
    ) -> Avatar:
        """Decodes a batch to avatars with a Gaussian on every vertex and texel."""
        maps = self._maps(features.grid)
        rgb = portrait.rgb * portrait.alpha
        uv_map, vertex_map = self.pyramid(maps, rgb)
        glob = maps[-1][..., 0, 0] if self.pool == "first" else maps[-1].mean((-2, -1))
        direction = view_code(camera.cam_from_world)
        vertex = self._vertex_branch(vertex_map, glob, direction, posed, camera)
        small = F.interpolate(rgb, uv_map.shape[-2:], mode="bilinear")
        sampled = self._inverse_texture(
            torch.cat([small.float(), uv_map.float()], 1), posed, camera
        )
        texel = self._uv_branch(sampled, glob, direction)
        gaussians = self._gaussians(vertex, texel, canonical)
        return Avatar(gaussians, body, camera, self.binding)

    def _maps(self, grid: Tensor) -> list[Tensor]:
        maps = list(grid.chunk(self.layers, 1))
        return maps * (_MAPS // self.layers)

    def _vertex_branch(
        self, maps: Tensor, glob: Tensor, direction: Tensor, posed: ProxyMesh, camera: Camera
    ) -> dict[str, Tensor]:
        """Features at the projected vertices, learned and global ones, to raw Gaussians."""
        sampled = sample_at(maps, posed.vertices, camera, padding="border")  # [B V C]
        learned = self.vertex_features[: self.count].expand(len(maps), -1, -1)
        glob = self.to_global(glob)[:, None].expand(-1, self.count, -1)
        return self.vertices(torch.cat([sampled, learned, glob], -1), direction)

    def _inverse_texture(self, maps: Tensor, posed: ProxyMesh, camera: Camera) -> Tensor:
        """Moves maps [B C h w] over the portrait to the texels it shows: [B C S S]."""
        with torch.autocast(maps.device.type, enabled=False):
            points = self.surface.binding.interpolate(posed.vertices)
            sampled = sample_at(maps, points, camera, padding="zeros")
            shown = self._visible_faces(posed, camera)[:, self.surface.face_ids]
            return self.surface.to_map(sampled * shown[..., None])

    def _visible_faces(self, posed: ProxyMesh, camera: Camera) -> Tensor:
        """Returns [B F] 1 for every face that is nearest behind some pixel of the portrait."""
        factor = min(1.0, self.max_rasterized / max(camera.width, camera.height))
        view = camera.resized(round(camera.width * factor), round(camera.height * factor))
        faces = self.surface.faces
        found = self.rasterizer(view.screen(posed.vertices), faces, view.height, view.width)
        ids = found.face_ids.flatten(1) + 1  # 0 for the background
        shown = posed.vertices.new_zeros(len(ids), len(faces) + 1)
        return shown.scatter(1, ids.long(), 1.0)[:, 1:]

    def _uv_branch(self, sampled: Tensor, glob: Tensor, direction: Tensor) -> dict[str, Tensor]:
        """Inpaints what was sampled and reads Gaussians off the map, as [B N ...]."""
        noise: Noise = "fresh" if self.training else self._stored_noise()
        filled = self.inpaint(sampled, self.to_style(glob), noise)
        learned = self.uv_features.expand(len(sampled), -1, -1, -1)
        maps = self.texels(torch.cat([filled, learned], 1), direction)
        return {name: self.surface.from_map(value) for name, value in maps.items()}

    def _stored_noise(self) -> list[Tensor]:
        return list(self.inpaint.generator.noise.buffers())

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def _gaussians(
        self, vertex: dict[str, Tensor], texel: dict[str, Tensor], canonical: ProxyMesh
    ) -> FeatureGaussians:
        """Puts both branches into the axes of the rest pose, in float32."""
        vertex = {name: value.float() for name, value in vertex.items()}
        texel = {name: value.float() for name, value in texel.items()}
        corners = canonical.rest_vertices[:, self.surface.vertex_ids]  # [B N 3 3]
        offset, turn, size = place_texels(texel, corners)
        raw = torch.cat([vertex["color"], texel["color"]], 1)
        colors = torch.sigmoid(raw[..., :3])
        scales = torch.cat([vertex["scale"], size], 1)
        return FeatureGaussians(
            torch.cat([torch.zeros_like(vertex["scale"]), offset], 1),
            torch.cat([F.normalize(vertex["rotation"], dim=-1), turn], 1),
            scales.clamp(*_SCALES),
            torch.cat([vertex["opacity"], texel["opacity"]], 1)[..., 0],
            colors,
            torch.cat([colors, raw[..., 3:]], -1),
        )

    def finish(
        self,
        rendering: Rendering,
        posed: Gaussians,
        camera: Camera,
        background: Tensor | None,
        renderer: GaussianRenderer,
    ) -> Rendering:
        """Draws the picture from the splatted channels, inside the raw rendering's alpha.

        The refiner works at its own square size: other pictures are resized to it and back.
        """
        if self.refiner is None or not isinstance(posed, FeatureGaussians):
            return rendering
        splatted = splat_features(renderer, posed, posed.features, camera)
        maps = splatted.reshape(-1, *splatted.shape[-3:])  # [B F H W]
        size = (self.refiner.size, self.refiner.size)
        if maps.shape[-2:] != size:
            maps = F.interpolate(maps, size, mode="bilinear", antialias=True)
        drawn = torch.sigmoid(self.refiner(maps, noise="fresh" if self.training else "none"))
        if splatted.shape[-2:] != size:
            drawn = F.interpolate(drawn, splatted.shape[-2:], mode="bilinear", antialias=True)
        drawn = drawn.float().reshape(rendering.rgb.shape)
        rgb = drawn * rendering.alpha
        if background is not None:
            rgb = rgb + background[..., None, None] * (1 - rendering.alpha)
        return rendering.replace(rgb=rgb)


# Metres. The released texel scale is an unbounded exponential; these keep it finite.
_SCALES = (1e-5, 0.2)


@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def sample_at(
    maps: Tensor, points: Tensor, camera: Camera, *, padding: Literal["border", "zeros"]
) -> Tensor:
    """Reads maps [B C h w] over the whole picture where world points [B N 3] fall: [B N C]."""
    px, _ = camera.project(points)
    where = (2 * px / px.new_tensor([camera.width, camera.height]) - 1)[:, :, None]
    sampled = F.grid_sample(maps.float(), where, padding_mode=padding, align_corners=False)
    return sampled[..., 0].transpose(1, 2)


def _all_vertices(body: Body) -> SurfaceBinding:
    topology = body.topology.to("cpu")
    with torch.device("cpu"):  # also where the network is built on the meta device
        points = subdivided_vertices(topology)  # the vertices come first, in order
    count = topology.num_vertices
    first = SurfaceBinding(
        points.vertex_ids[:count], points.barycentrics[:count], points.uv[:count]
    )
    at = first.vertex_ids.gather(1, first.barycentrics.argmax(1, keepdim=True))[:, 0]
    if not torch.equal(at, torch.arange(count, device="cpu")):
        raise ConfigError(f"GUAVADecoder needs a body whose {count} vertices all belong to a face")
    return first
