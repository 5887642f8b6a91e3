"""The LHM decoder: surface queries against body tokens and a head crop's tokens (Qiu et al., 2025).

LHM-HF is the same network, trained with random crops of the body; docs/baselines.md says what
follows the released code and what is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.interfaces import Body, Decoder, Encoder
from presence.models.joint_attention import ModulatedJointBlock
from presence.models.official import OfficialLayout, check_octaves
from presence.models.query_layers import (
    PointEmbedding,
    QueryHeads,
    activate_scale,
    official_query_name,
    tokens_of,
)
from presence.projection.crops import crop_windows, part_window
from presence.projection.queries import (
    BoundPoints,
    join,
    part_vertices,
    points_inside,
    sample_surface,
)
from presence.registry import DECODERS, ENCODERS
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    ImageFeatures,
    Portrait,
    ProxyMesh,
)
from presence_plugins.encoders.dinov2 import official_name as dinov2_name

HEAD_PARTS = ("head",)
UPPER_PARTS = ("torso", "neck", "left_arm", "right_arm", "left_hand", "right_hand")


def official_name(name: str) -> str:
    """Returns LHM's name of a weight of an `AvatarModel` with an `LHMDecoder`.

    Example:
        >>> official_name("decoder.transformer.layers.1.head.attention.q.bias")
        'transformer.layers.1.head_dit.attn.to_q.bias'
    """
    if not name.startswith("decoder."):
        return re.sub(r"^encoder\.", "fine_encoder.", name)
    name = name.removeprefix("decoder.")
    if name.startswith("head_encoder.trunk."):
        return "encoder.model." + dinov2_name(name.removeprefix("head_encoder.trunk."))
    name = re.sub(r"^head_encoder\.fusion\.", "encoder.fusion_head.", name)
    name = re.sub(r"^condition\.", "motion_embed_mlp.", name)
    name = re.sub(r"(\.layers\.\d+)\.(head|body)\.", r"\1.\2_dit.", name)
    return official_query_name(name)


@DECODERS.register()
class LHMDecoder(Decoder):
    """Points on the body become Gaussians by attending to the picture, the head's to its crop too.

    Defaults are LHM-500M's; those marked * are ours.

    Args:
        body: the body model.
        in_channels: C of the body tokens.
        head_encoder: encoder of the head crop, or its config; its features have at most
            `in_channels` channels.
        points: queries, and so Gaussians.
        head_share: share of the points that lie on the head.
        width: channels of a token.
        layers: pairs of a head block and a body block; 2 in LHM-MINI, 15 in LHM-1B.
        heads: attention heads.
        hidden: hidden channels of the attribute heads.
        head_size: side of the head crop, px.
        head_margin: side of the crop over the head's bounding box*.
        head_mask_ratio: in training, a share drawn from U(0, head_mask_ratio) of the head tokens
            is blanked.
        max_offset: metres along each axis.
        scale_limits: metres that a scale may reach at the first and from the last of
            `scale_steps` on, linear in between.
        scale_steps: training iterations of that schedule.
        upper_limit: metres that a scale may reach on `UPPER_PARTS`*.
        hip_angle: degrees that each leg is opened where the queries are taken; 20 in LHM.
        unturned_parts: parts whose Gaussians keep their orientation when posed. LHM has a mask
            of such points in a file that its weights do not hold; none by default*.
        seed: of the drawn points.
    """

    needs: ClassVar[Literal["uv", "image"]] = "image"
    also: ClassVar[tuple[Literal["portrait", "posed"], ...]] = ("portrait", "posed")
    official: ClassVar[OfficialLayout] = OfficialLayout(
        name=official_name,
        ignored=(r"renderer\.smplx_model\..*", r"pcl_embed\.basis"),
        check=check_octaves,
    )
    keep: Tensor | None
    upper: Tensor
    head_vertices: Tensor

    def __init__(
        self,
        body: Body,
        *,
        in_channels: int = 1536,
        head_encoder: Encoder | Mapping[str, Any],
        points: int = 40_000,
        head_share: float = 0.25,
        width: int = 1024,
        layers: int = 5,
        heads: int = 16,
        hidden: int = 512,
        head_size: int = 112,
        head_margin: float = 1.3,
        head_mask_ratio: float = 0.5,
        max_offset: float = 0.5,
        scale_limits: Sequence[float] = (0.01, 0.05),
        scale_steps: Sequence[int] = (100, 3000),
        upper_limit: float = 0.02,
        hip_angle: float = 20.0,
        unturned_parts: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.body = body
        self.head_encoder: Encoder = (
            ENCODERS.build(head_encoder) if isinstance(head_encoder, Mapping) else head_encoder
        )
        if self.head_encoder.out_channels > in_channels:
            raise ConfigError(
                f"head features have {self.head_encoder.out_channels} channels, more than the "
                f"{in_channels} of the body's that they are padded to"
            )
        self.head_size, self.head_margin = head_size, head_margin
        self.head_mask_ratio, self.max_offset = head_mask_ratio, max_offset
        self.scale_limits, self.scale_steps = tuple(scale_limits), tuple(scale_steps)
        self.upper_limit, self.hip_angle = upper_limit, math.radians(hip_angle)
        self.step: int | None = None
        self.num_head = points - int((1 - head_share) * points)
        if not 0 < self.num_head < points:
            raise ConfigError(
                f"points={points} with head_share={head_share} leave {self.num_head} for the head: "
                "head and body need at least one each"
            )
        self._place_queries(points, tuple(unturned_parts), seed)
        self.points = PointEmbedding(width)
        self.condition = nn.Sequential(
            nn.Linear(in_channels, in_channels // 2),
            nn.SiLU(),
            nn.Linear(in_channels // 2, 2 * width),
        )
        self.transformer = BodyHeadTransformer(in_channels, width, layers, heads)
        self.heads = QueryHeads(width, hidden)

    def _place_queries(self, points: int, unturned: tuple[str, ...], seed: int) -> None:
        topology, parts = self.body.topology.to("cpu"), self.body.vertex_parts
        with torch.no_grad():
            average = self.body(self.body.default_params()).rest_vertices
        head = part_vertices(parts, HEAD_PARTS, topology.num_vertices)
        binding = join(
            sample_surface(topology, average, points - self.num_head, inside=~head, seed=seed),
            sample_surface(topology, average, self.num_head, inside=head, seed=seed + 1),
        )
        self.queries = BoundPoints(binding)

        def mask(names: Iterable[str]) -> Tensor:
            return points_inside(binding, part_vertices(parts, names, topology.num_vertices))

        self.register_buffer("head_vertices", head.nonzero()[:, 0], persistent=False)
        self.register_buffer("upper", mask(parts.keys() & UPPER_PARTS), persistent=False)
        self.register_buffer("keep", mask(unturned) if unturned else None, persistent=False)

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
        """Decodes body features and the portrait's head to avatars with one Gaussian a query."""
        head = self.head_features(portrait, posed, camera)
        opened = self.opened_mesh(canonical, body)
        binding = self.queries.binding
        raw = self.attributes(tokens_of(features), head, binding.interpolate(opened.vertices))
        gaussians = self.activate(raw)
        avatar = Avatar(gaussians, body, camera, binding, keep_orientation=self.keep)
        return avatar.from_pose(opened)

    def head_features(self, portrait: Portrait, posed: ProxyMesh, camera: Camera) -> Tensor:
        """Returns the head crop's tokens [B T c]."""
        with torch.autocast(portrait.device.type, enabled=False):
            window = part_window(posed, camera, self.head_vertices, self.head_margin)
        crop = crop_windows(portrait, window, self.head_size)
        return tokens_of(self.head_encoder(crop))

    def opened_mesh(self, canonical: ProxyMesh, body: BodyParams) -> ProxyMesh:
        """The person in the pose in which queries are taken: T-pose, legs opened outwards."""
        if not self.hip_angle:
            return canonical
        with torch.autocast(canonical.device.type, enabled=False):
            rest = body.at_rest()
            pose = rest.pose.clone()
            pose[..., 1, 2], pose[..., 2, 2] = self.hip_angle, -self.hip_angle
            return self.body(rest.replace(pose=pose))

    def attributes(self, body_tokens: Tensor, head_tokens: Tensor, points: Tensor) -> dict:
        """Maps tokens and query positions [B N 3] to raw Gaussian attributes [B N ...]."""
        head_tokens = self._mask(head_tokens)
        head_tokens = F.pad(head_tokens, (0, body_tokens.shape[-1] - head_tokens.shape[-1]))
        vector = self.condition(body_tokens.mean(1, keepdim=True))
        tokens = self.transformer(
            self.points(points), body_tokens, head_tokens, vector, self.num_head
        )
        return self.heads(tokens)

    def _mask(self, tokens: Tensor) -> Tensor:
        if not self.training or self.head_mask_ratio <= 0:
            return tokens
        batch, count, _ = tokens.shape
        share = self.head_mask_ratio * torch.rand(batch, 1, 1, device=tokens.device)
        return tokens * (torch.rand(batch, count, 1, device=tokens.device) >= share)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def activate(self, raw: Mapping[str, Tensor]) -> Gaussians:
        """Raw attributes to Gaussians, in the axes of the pose the queries were taken in."""
        scales = activate_scale(raw["scale"], self.scale_limit())
        upper = scales.clamp(max=self.upper_limit)
        return Gaussians(
            means=2 * self.max_offset * (torch.sigmoid(raw["offset"]) - 0.5),
            quaternions=F.normalize(raw["rotation"], dim=-1),
            scales=torch.where(self.upper[:, None], upper, scales),
            opacities=torch.sigmoid(raw["opacity"][..., 0]),
            colors=torch.sigmoid(raw["color"]),
        )

    def scale_limit(self) -> float:
        """Metres that a scale may reach at this step of training, or after it."""
        (low, high), (first, last) = self.scale_limits, self.scale_steps
        if self.step is None or not self.training:
            return high
        done = (self.step - first) / max(last - first, 1)
        return low + (high - low) * min(max(done, 0.0), 1.0)

    def at_step(self, iteration: int) -> None:
        """Hears how far training has come."""
        self.step = iteration


class BodyHeadTransformer(nn.Module):
    """Layers of a head block (head points, head tokens) and a body block (all points, body tokens).

    Args:
        in_channels: channels of the picture tokens.
        width: channels inside.
        layers: pairs of blocks.
        heads: attention heads.
    """

    def __init__(self, in_channels: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.context_in = nn.Linear(in_channels, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                dict(
                    head=ModulatedJointBlock(width, heads, last=number == layers - 1),
                    body=ModulatedJointBlock(width, heads, last=number == layers - 1),
                )
            )
            for number in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(
        self, points: Tensor, body: Tensor, head: Tensor, vector: Tensor, num_head: int
    ) -> Tensor:
        """Transforms point tokens.

        Args:
            points: [B N W], the head's last.
            body: [B T C] body tokens.
            head: [B t C] head tokens.
            vector: [B 1 2W] modulation, the body's half first.
            num_head: how many of the points are the head's.
        """
        body, head = self.context_in(body), self.context_in(head)
        for layer in self.layers:
            points, body, head = self.layer(layer, points, body, head, vector, num_head)
        return self.norm(points)

    @staticmethod
    def layer(
        layer: Any, points: Tensor, body: Tensor, head: Tensor, vector: Tensor, num_head: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Runs one pair of blocks; returns points, body and head tokens."""
        body_vector, head_vector = vector.chunk(2, -1)
        rest = points.shape[1] - num_head
        head_points, head = layer["head"](points[:, rest:], head, head_vector)
        points, body = layer["body"](
            torch.cat([points[:, :rest], head_points], 1), body, body_vector
        )
        return points, body, head
