"""The Dual-UV decoder: UV tokens, self-attention, unpatchify, attribute heads (paper 3.1, A.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.geometry import matrix_to_quaternion, quaternion_multiply
from presence.interfaces import Body, Decoder
from presence.models.attribute_heads import AttributeHeads
from presence.models.layers import AlignedLinear, ConvBlock, TransformerBlock, sinusoids
from presence.models.merging import flatten_cells, mergers, unflatten_cells
from presence.projection import (
    OUTLINE_CHANNELS,
    MaskProbes,
    NearbyColours,
    SecondLook,
    SurfaceMap,
    drop_cells,
    outline_of_texels,
)
from presence.registry import DECODERS
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    Portrait,
    ProxyMesh,
    UVFeatures,
    cat,
)


@DECODERS.register()
class DualUVDecoder(Decoder):
    """Fills unseen UV cells from seen ones and turns every texel into a Gaussian.

    Defaults are the paper's where it states them; those marked * are ours.

    Args:
        body: the body model, for the canonical position map.
        surface: the texels' points on the body.
        in_channels: C of the UV features.
        core_size: side of the Core-UV grid.
        shell_size: side of the Shell-UV grid*; 0 leaves the shell branch out (Table 2 d).
        width: channels of a token.
        merge: each token stands for merge x merge cells*; 1 is the paper's. With more, cells keep
            `cell_width` channels of their own past the attention, and `refine_blocks`
            convolution blocks on the cell grid blend what tokens and cells know: attention on a
            quarter of the tokens, for two CPU cores.
        cell_width: channels of a cell when merging.
        refine_blocks: convolution blocks after unmerging.
        blocks: self-attention blocks.
        heads: attention heads*.
        mlp_ratio: hidden width of a block's MLP over `width`*.
        frequencies: L, octaves of the sinusoids that initialise the core position embedding*.
        texel_channels: channels a texel receives from its token.
        hidden: hidden width of the attribute heads.
        mask_ratio: in training, a share drawn from U(0, mask_ratio) of the cells is dropped.
        texel_rgb: whether the portrait's colour at each texel joins the token and is the base on
            which the colour head predicts a residual* (design section 6).
        complete: whether unseen texels start from the mirrored one's colour, or from what is seen
            near them, instead of mid-grey*; needs `texel_rgb`.
        probes: metres along the surface normal at which cells read the portrait's mask*, so that
            they know how far hair and cloth reach; none leaves the probes out.
        outline: whether another MLP tells every texel's geometry what follows from the way to the
            portrait's outline*, see `presence.projection.outline`: short trainings need not learn
            to see it. Before training it changes nothing, so other weights can be started from.
        carve: whether Gaussians that leave the body's outline for the background of the portrait
            are taken away*, see `presence.projection.carve`.
        resample: whether a seen Gaussian takes the portrait's colour where it ends up, not where
            its surface point is*: cloth that stands off the body keeps its pattern in place. Needs
            `texel_rgb`.
        cover: share of the distance to its farthest neighbour that a Gaussian's deviations along
            the surface have at least*: no holes where offsets spread texels, from near either.
        narrow: standard deviations that must fit between a Gaussian and the portrait's outline*,
            see `presence.projection.narrow`; 0 leaves sizes as they are.
        max_offset: metres; offsets are soft-limited to it*.
    """

    no_turn: Tensor

    needs: ClassVar[Literal["uv", "image"]] = "uv"
    also: ClassVar[tuple[Literal["portrait", "posed"], ...]] = ("portrait", "posed")

    def __init__(
        self,
        body: Body,
        surface: SurfaceMap,
        *,
        in_channels: int = 1536,
        core_size: int = 64,
        shell_size: int = 32,
        width: int = 1024,
        merge: int = 1,
        cell_width: int | None = None,
        refine_blocks: int = 0,
        blocks: int = 8,
        heads: int = 16,
        mlp_ratio: float = 3.0,
        frequencies: int = 8,
        texel_channels: int = 16,
        hidden: int = 256,
        mask_ratio: float = 0.5,
        texel_rgb: bool = False,
        complete: bool = False,
        probes: Sequence[float] = (),
        outline: bool = False,
        carve: bool = False,
        resample: bool = False,
        cover: float = 0.0,
        narrow: float = 0.0,
        max_offset: float = 0.3,
    ) -> None:
        super().__init__()
        if (complete or resample) and not texel_rgb:
            raise ConfigError("complete and resample improve texel_rgb's colours, which is off")
        if surface.size % core_size:
            raise ValueError(f"core_size={core_size} must divide the map size {surface.size}")
        self.surface, self.core_size, self.shell_size = surface, core_size, shell_size
        self.patch = surface.size // core_size
        self.merge = merge
        self.mask_ratio, self.texel_rgb, self.max_offset = mask_ratio, texel_rgb, max_offset

        cell = width if cell_width is None else cell_width
        self.core_position = nn.Parameter(
            _position_embedding(body, surface, core_size, frequencies, in_channels)
        )
        self.core_in = AlignedLinear(in_channels + 1, cell)
        if shell_size:
            self.shell_position = nn.Parameter(0.02 * torch.randn(shell_size**2, in_channels))
            self.shell_in = AlignedLinear(in_channels + 1, cell)
        if texel_rgb:
            self.texel_in = nn.Linear(4 * self.patch**2, cell)
        self.complete, self.outline = complete, outline
        self.second_look = SecondLook(
            surface, cover=cover, carve=carve, narrow=narrow, resample=resample
        )
        self.register_buffer("no_turn", torch.tensor([1.0, 0.0, 0.0, 0.0]), persistent=False)
        self.probes = MaskProbes(surface, core_size, probes) if probes else None
        if probes:
            self.probe_in = nn.Linear(len(probes) + 1, cell, bias=False)
        if complete:
            self.completion = NearbyColours(body, surface)
        self.merge_core, self.unmerge = mergers(cell, width, merge)
        self.merge_shell = mergers(cell, width, merge)[0] if shell_size else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, mlp_ratio=mlp_ratio) for _ in range(blocks)
        )
        self.refine = nn.Sequential(*(ConvBlock(cell) for _ in range(refine_blocks)))
        self.norm = nn.LayerNorm(cell)
        # With the paper's numbers (1024 = 8 * 8 * 16) unpatchify is a pure reshape.
        exact = cell == self.patch**2 * texel_channels
        self.expand: nn.Module = (
            nn.Identity() if exact else nn.Linear(cell, self.patch**2 * texel_channels)
        )
        inputs = texel_channels + (4 if texel_rgb else 0)
        self.heads = AttributeHeads(inputs, hidden)
        if outline:  # the last to draw random numbers: everything else starts as without it
            self.outline_heads = AttributeHeads(
                inputs + OUTLINE_CHANNELS,
                hidden,
                outputs={"geometry": sum(_GEOMETRY.values())},
                init_scale=0.0,
            )

    def forward(  # type: ignore[override]
        self,
        features: UVFeatures,
        canonical: ProxyMesh,
        body: BodyParams,
        camera: Camera,
        *,
        portrait: Portrait | None = None,
        posed: ProxyMesh | None = None,
    ) -> Avatar:
        """Decodes UV features of a batch to avatars with one Gaussian a texel.

        Only `probes`, `outline`, `cover`, `carve`, `narrow` and `resample` read `portrait` and the
        `posed` body.
        """
        seen = self._seen(portrait, posed)
        if self.training and self.mask_ratio > 0:
            features = drop_cells(features, self.mask_ratio)
        core, shell = self._cells(features)
        if seen and self.probes is not None:
            core = core + unflatten_cells(self.probe_in(self.probes(*seen, camera)))
        cells = self._attend(core, shell)
        texels = self._unpatchify(self.refine(cells))  # [B N C]
        copied = self._copied(features)
        texels = texels if copied is None else torch.cat([texels, copied], -1)
        raw = self.heads(texels)
        if seen and self.outline:
            told = outline_of_texels(self.surface, *seen, camera)
            raw = self._fit_outline(raw, texels, told)
        avatar = Avatar(self._place(raw, canonical), body, camera, self.surface.binding)
        base = None if copied is None else copied[..., :3].float()
        if seen and self.second_look.active:
            avatar, base = self._look_again(avatar, base, features, *seen)
        return self._colour(avatar, base)

    def settle(
        self,
        features: UVFeatures,
        avatar: Avatar,
        portraits: Portrait,
        posed: ProxyMesh,
        camera: Camera,
    ) -> UVFeatures:
        """With `resample`: seen texels take their portrait's colour where the Gaussians are."""
        means = cat([avatar] * portraits.batch_shape[0]).pose(posed).means
        return self.second_look.settle(features, means, portraits, camera)

    def _seen(
        self, portrait: Portrait | None, posed: ProxyMesh | None
    ) -> tuple[Portrait, ProxyMesh] | None:
        """Returns the portrait and the body in it, None where no option looks at them."""
        if self.probes is None and not self.outline and not self.second_look.active:
            return None
        if portrait is None or posed is None:
            raise TypeError(
                "probes, outline, cover, carve, narrow and resample need the portrait and the "
                "posed body"
            )
        return portrait, posed

    def _cells(self, features: UVFeatures) -> tuple[Tensor, Tensor | None]:
        """Positions, features and flags of both branches to cells [B C U U] and [B C s s]."""
        core = flatten_cells(features.core) + self.core_position
        core = self.core_in(torch.cat([core, flatten_cells(features.core_seen)], -1))
        if self.texel_rgb:
            texels = torch.cat(
                [(features.texels - 0.5) * (features.texels_seen > 0), features.texels_seen], 1
            )
            core = core + self.texel_in(flatten_cells(F.pixel_unshuffle(texels, self.patch)))
        if not self.shell_size:
            return unflatten_cells(core), None
        shell = flatten_cells(features.shell) + self.shell_position
        shell = self.shell_in(torch.cat([shell, flatten_cells(features.shell_seen)], -1))
        return unflatten_cells(core), unflatten_cells(shell)

    def _attend(self, core: Tensor, shell: Tensor | None) -> Tensor:
        """Self-attention among the tokens of both branches; returns core cells [B C U U]."""
        tokens = self.merge_core(core)
        count = tokens.shape[1]
        if shell is not None and self.merge_shell is not None:
            tokens = torch.cat([tokens, self.merge_shell(shell)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        merged = self.unmerge(unflatten_cells(tokens[:, :count]))
        return merged if self.merge == 1 else core + merged

    def _unpatchify(self, cells: Tensor) -> Tensor:
        """Cells [B C U U] to the channels of every texel [B N texel_channels]."""
        patches = self.expand(self.norm(flatten_cells(cells)))
        return self.surface.from_map(F.pixel_shuffle(unflatten_cells(patches), self.patch))

    def _fit_outline(
        self, raw: dict[str, Tensor], texels: Tensor, told: Tensor
    ) -> dict[str, Tensor]:
        """Adds to the raw geometry what follows from where the outline is, [B N 9]."""
        change = self.outline_heads(torch.cat([texels, told], -1))["geometry"]
        parts = change.split(list(_GEOMETRY.values()), -1)
        return raw | {name: raw[name] + part for name, part in zip(_GEOMETRY, parts)}

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def _look_again(
        self,
        avatar: Avatar,
        base: Tensor | None,
        features: UVFeatures,
        portrait: Portrait,
        posed: ProxyMesh,
    ) -> tuple[Avatar, Tensor | None]:
        """Mends the avatar by the portrait, and takes base colours where its Gaussians are."""
        avatar, colours = self.second_look(avatar, portrait, posed)
        return avatar, base if colours is None else self._base(features, colours)

    def _copied(self, features: UVFeatures) -> Tensor | None:
        """The portrait's colour at each texel, as a logit, and how squarely it was seen [B N 4]."""
        if not self.texel_rgb:
            return None
        seen = self.surface.from_map(features.texels_seen)
        return torch.cat([self._base(features), seen], -1)

    def _base(self, features: UVFeatures, colours: Tensor | None = None) -> Tensor:
        """Logits of the colours that the colour head predicts a residual on [B N 3].

        Args:
            features: say which texels are seen, and their colours.
            colours: [B N 4] better colours of seen texels, and how much they are to be trusted.
        """
        texels = self.surface.from_map(torch.cat([features.texels, features.texels_seen], 1))
        rgb, shown = texels[..., :3], (texels[..., 3:] > 0).to(texels.dtype)
        if colours is not None and not features.settled:
            rgb = torch.lerp(rgb, colours[..., :3], colours[..., 3:])
        if self.complete:
            rgb = self.completion(rgb, shown)
            return torch.logit(rgb.clamp(0.01, 0.99))
        return torch.logit(rgb.clamp(0.01, 0.99)) * shown

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def _place(self, raw: dict[str, Tensor], canonical: ProxyMesh) -> Gaussians:
        """Raw head outputs to Gaussians in the axes of the rest pose, colours still raw logits."""
        raw = {name: value.float() for name, value in raw.items()}
        rest_from_tangent, spacing = self.surface.tangent_frames(canonical.rest_vertices)
        offset = self.max_offset * torch.tanh(raw["offset"] * (0.05 / self.max_offset))
        offset = (rest_from_tangent * offset[..., None, :]).sum(-1)  # faster than tiny products
        local = raw["rotation"] + self.no_turn
        turn = quaternion_multiply(
            matrix_to_quaternion(rest_from_tangent), F.normalize(local, dim=-1)
        )
        base = torch.cat([spacing, spacing.amin(-1, keepdim=True)], -1).clamp(2e-4, 2e-2)
        scales = base * torch.exp(raw["scale"].clamp(-4, 3) + _SCALE_BIAS)
        opacity = torch.sigmoid(raw["opacity"][..., 0] + _OPACITY_BIAS)
        return Gaussians(offset, turn, scales, opacity, raw["color"])

    def _colour(self, avatar: Avatar, base: Tensor | None) -> Avatar:
        """Adds the residual to the base colour's logits; through a sigmoid."""
        logits = avatar.canonical.colors if base is None else avatar.canonical.colors + base
        return avatar.replace(canonical=avatar.canonical.replace(colors=torch.sigmoid(logits)))


# Neighbouring Gaussians one spacing apart with a deviation of 0.6 spacings leave no gaps.
_SCALE_BIAS = math.log(0.6)
# Opacities start a little above the 0.8 that the regulariser pulls them to (Eq. 13): overlapping
# neighbours of 0.9 let almost nothing through.
_OPACITY_BIAS = math.log(0.9 / 0.1)


# What the way to the outline may change: all but colours.
_GEOMETRY = {name: n for name, n in AttributeHeads.OUTPUTS.items() if name != "color"}


def _position_embedding(
    body: Body, surface: SurfaceMap, grid: int, frequencies: int, width: int
) -> Tensor:
    """Initial core position embedding [grid^2 width] from the canonical position map (A.1)."""
    with torch.no_grad():
        mesh = body(body.default_params())
        points = surface.binding.to(mesh.rest_vertices.device).interpolate(mesh.rest_vertices)
        cells = surface.cells(grid)
        total = points.new_zeros(grid**2, 3).index_add(0, cells, points)
        count = torch.bincount(cells, minlength=grid**2).clamp_min(1)[:, None]
        code = sinusoids(total / count, frequencies)
        linear = torch.randn(code.shape[-1], width) / math.sqrt(code.shape[-1])
        return 0.1 * code @ linear
