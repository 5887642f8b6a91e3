"""The LAM decoder: the head's vertices against one stream of picture tokens (He et al., 2025)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.assets import find_asset
from presence.errors import AssetError, ConfigError
from presence.interfaces import Body, Decoder
from presence.models.joint_attention import JointBlock
from presence.models.official import OfficialLayout, check_octaves
from presence.models.query_layers import (
    PointEmbedding,
    QueryHeads,
    activate_scale,
    official_query_name,
    tokens_of,
)
from presence.projection.queries import BoundPoints, part_vertices, subdivided_vertices
from presence.registry import DECODERS
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    ImageFeatures,
    ProxyMesh,
    SurfaceBinding,
)
from presence_plugins.encoders.dinov2 import official_name as dinov2_name

log = logging.getLogger(__name__)


def official_name(name: str) -> str:
    """Returns LAM's name of a weight of an `AvatarModel` with DINOv2 and a `LAMDecoder`.

    Example:
        >>> official_name("decoder.heads.out.color.weight")
        'renderer.gs_net.out_layers.shs.weight'
    """
    if name.startswith("encoder.trunk."):
        return "encoder.model." + dinov2_name(name.removeprefix("encoder.trunk."))
    name = re.sub(r"^encoder\.fusion\.", "encoder.fusion_head.", name)
    return official_query_name(name.removeprefix("decoder."))


def check_file(tensors: Mapping[str, Tensor]) -> None:
    """Checks that a file's network normalises context queries and keys, as this one does.

    Raises:
        AssetError: it has no weights for that, or another point code.
    """
    check_octaves(tensors)
    if not any(".attn.norm_added_" in name for name in tensors):
        raise AssetError(
            "the file has no `*.attn.norm_added_q` and `norm_added_k`: it was trained with an "
            "older attention that left queries and keys of the picture unnormalised, which this "
            "network does not do"
        )


def flame_queries(body: Body, count: int) -> SurfaceBinding | None:
    """Returns FLAME's vertices on SMPL-X and the midpoints of the edges between them.

    Args:
        body: SMPL-X.
        count: how many there have to be; 20,018 for FLAME.

    Returns:
        None where the user's file of correspondences is not there.

    Raises:
        AssetError: the file does not fit the body.
        ConfigError: there is another number of points.
    """
    from presence.tracking.fusing.dense_models import correspondences

    path = find_asset("correspondences").find()
    ids = None if path is None else correspondences(path.parent).get("face")
    if path is None or ids is None:
        log.warning("queries by body part: there is no file of FLAME's vertices on SMPL-X")
        return None
    topology = body.topology.to("cpu")
    if not 0 <= ids.min() <= ids.max() < topology.num_vertices:
        raise AssetError(
            f"{path.parent}: vertices up to {int(ids.max())} are not on a body of "
            f"{topology.num_vertices}"
        )
    inside = torch.zeros(topology.num_vertices, dtype=torch.bool)
    inside[ids] = True
    binding = subdivided_vertices(topology, inside)
    if len(binding.uv) != count:
        raise ConfigError(
            f"FLAME's {len(ids)} vertices on this body and the middles of their edges are "
            f"{len(binding.uv)} points, not flame_points={count}; with flame_points=null queries "
            "are taken by body part"
        )
    return binding


@DECODERS.register()
class LAMDecoder(Decoder):
    """The head's subdivided vertices become Gaussians by attending to picture tokens.

    Defaults are LAM-20K's; those marked * are ours.

    Args:
        body: the body model.
        in_channels: C of the picture tokens.
        parts: body parts whose vertices and edge midpoints are the queries.
        flame_points: on SMPL-X, where the user's file of FLAME's vertices is there
            (`correspondences` in configs/assets.yaml), those and their edges' midpoints are the
            queries in the place of `parts`, this many*. None never looks for the file.
        width: channels of a token.
        layers: joint blocks.
        heads: attention heads.
        hidden: hidden channels of the attribute heads.
        max_offset: metres along each axis.
        scale_limit: metres that a scale may reach.
        centred: take query positions relative to the middle of the average head*, near FLAME's
            origin, instead of the body's.
    """

    needs: ClassVar[Literal["uv", "image"]] = "image"
    official: ClassVar[OfficialLayout] = OfficialLayout(
        name=official_name,
        ignored=(r"renderer\.flame_model\..*", r"pcl_embed\.basis"),
        check=check_file,
    )
    centre: Tensor
    keep: Tensor

    def __init__(
        self,
        body: Body,
        *,
        in_channels: int = 1024,
        parts: Sequence[str] = ("head", "neck"),
        flame_points: int | None = None,
        width: int = 1024,
        layers: int = 10,
        heads: int = 16,
        hidden: int = 512,
        max_offset: float = 0.1,
        scale_limit: float = 0.01,
        centred: bool = True,
    ) -> None:
        super().__init__()
        self.max_offset, self.scale_limit = max_offset, scale_limit
        binding = None if flame_points is None else flame_queries(body, flame_points)
        if binding is None:
            topology = body.topology.to("cpu")
            inside = part_vertices(body.vertex_parts, tuple(parts), topology.num_vertices)
            binding = subdivided_vertices(topology, inside)
        with torch.no_grad():
            average = body(body.default_params()).rest_vertices.cpu()
        centre = binding.interpolate(average).mean(0) if centred else torch.zeros(3)
        self.register_buffer("centre", centre, persistent=False)
        # LAM moves centres with the head and leaves orientations as they are.
        self.register_buffer(
            "keep", torch.ones(len(binding.uv), dtype=torch.bool), persistent=False
        )
        self.queries = BoundPoints(binding)
        self.points = PointEmbedding(width)
        self.transformer = JointTransformer(in_channels, width, layers, heads)
        self.heads = QueryHeads(width, hidden)

    def forward(  # type: ignore[override]
        self, features: ImageFeatures, canonical: ProxyMesh, body: BodyParams, camera: Camera
    ) -> Avatar:
        """Decodes picture features of a batch to avatars with one Gaussian a query."""
        binding = self.queries.binding
        points = binding.interpolate(canonical.rest_vertices) - self.centre
        gaussians = self.activate(self.attributes(tokens_of(features), points))
        return Avatar(gaussians, body, camera, binding, keep_orientation=self.keep)

    def attributes(self, tokens: Tensor, points: Tensor) -> dict[str, Tensor]:
        """Maps picture tokens [B T C] and positions [B N 3] to raw attributes [B N ...]."""
        return self.heads(self.transformer(self.points(points), tokens))

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def activate(self, raw: Mapping[str, Tensor]) -> Gaussians:
        """Raw attributes to Gaussians, offsets in the axes of the rest pose."""
        return Gaussians(
            means=2 * self.max_offset * (torch.sigmoid(raw["offset"]) - 0.5),
            quaternions=F.normalize(raw["rotation"], dim=-1),
            scales=activate_scale(raw["scale"], self.scale_limit),
            opacities=torch.sigmoid(raw["opacity"][..., 0]),
            colors=torch.sigmoid(raw["color"]),
        )


class JointTransformer(nn.Module):
    """Joint blocks between points and one stream of picture tokens.

    Args:
        in_channels: channels of the picture tokens.
        width: channels inside.
        layers: blocks.
        heads: attention heads.
    """

    def __init__(self, in_channels: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.context_in = nn.Linear(in_channels, width)
        self.layers: Any = nn.ModuleList(
            JointBlock(width, heads, last=number == layers - 1) for number in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, points: Tensor, tokens: Tensor) -> Tensor:
        """Transforms point tokens [B N W] with picture tokens [B T C]."""
        context = self.context_in(tokens)
        for layer in self.layers:
            points, context = layer(points, context)
        return self.norm(points)
