"""`AnimationSession`: one avatar, many frames, drawn without the host ever waiting for the GPU."""

from __future__ import annotations

import logging
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from presence.bodies import Body
from presence.errors import PresenceError
from presence.pipeline.player import check_fit
from presence.realtime.binning import Bins, bin_gaussians, depth_range, pick_tile
from presence.realtime.compositing import composite_bins
from presence.realtime.graphs import Recorded
from presence.realtime.posing import BodyPoser, pose_points
from presence.rendering.gsplat_renderer import gsplat_problem
from presence.structures import Avatar, BodyParams, Camera

_log = logging.getLogger(__name__)

DEPTH_MARGIN = 0.5  # metres around the body within which Gaussians are put in order


class Frames(NamedTuple):
    """What a session draws; overwritten by its next call.

    Attributes:
        rgb: [B 3 H W] over the background.
        alpha: [B 1 H W] coverage.
    """

    rgb: Tensor
    alpha: Tensor


class AnimationSession:
    """Poses and draws one avatar again and again, B frames a call, as one CUDA graph.

    The body is posed by `BodyPoser`, the Gaussians by `pose_points`; gsplat's kernel projects
    them, `bin_gaussians` sorts them into tiles in a buffer of fixed size (gsplat's own sorting
    waits for the host), and single frames are drawn by `composite_bins`, many Gaussians of a tile
    at once (several by gsplat's kernel, one after another). The pictures are gsplat's, but for the
    order of Gaussians whose depths differ by less than the range of depth over 2^16.

    Gaussians are all it draws: what a decoder's `finish` adds (GUAVA's refiner) is left out.

    The buffer is sized by the first frame. A frame that needs more lacks its last Gaussians; the
    session notices without waiting, and records anew with a larger buffer before a later call. For
    videos, where every frame counts more than speed, `draw` can make sure.

    Args:
        avatar: one person, on a CUDA device.
        body: the body model that it is bound to, on the same device.
        camera: the first view, [B] or one; its size is that of all pictures.
        batch: B, frames a call.
        background: [3] colour, black if None.
        headroom: room in the buffer over what the first frame needs.
        eps2d: variance added to the projected Gaussians, px^2.
        near: Gaussians nearer than this are dropped, metres.
        tile: side of the squares that are composited together, px; None takes 8, which suits
            Gaussians of a few pixels, while depth keeps enough of a key's bits.
        graph: whether to record a CUDA graph.

    Raises:
        ValueError: the avatar is not on a CUDA device.
        InputError: the avatar does not fit the body.
        PresenceError: gsplat's kernels cannot be used; the text says why.
    """

    def __init__(
        self,
        avatar: Avatar,
        body: Body,
        camera: Camera,
        *,
        batch: int = 1,
        background: Tensor | None = None,
        headroom: float = 1.3,
        eps2d: float = 0.3,
        near: float = 0.01,
        tile: Literal[8, 16] | None = None,
        graph: bool = True,
    ) -> None:
        if avatar.device.type != "cuda":
            raise ValueError(
                f"an AnimationSession needs an avatar on a CUDA device, got {avatar.device}; "
                "AvatarPlayer draws anywhere"
            )
        check_fit(avatar, body)
        problem = gsplat_problem()
        if problem:
            raise PresenceError(f"gsplat cannot be used: {problem}")
        self.batch, self.eps2d, self.near = batch, eps2d, near
        self.headroom, self.graph = headroom, graph
        self.height, self.width = int(camera.height), int(camera.width)
        self.tile = tile or pick_tile(batch, self.height, self.width)
        self.avatar = _compact(avatar)
        self.poser = BodyPoser(body, avatar.body.betas, avatar.body.offsets)
        self._make_inputs(avatar, camera, background)
        self.capacity = 4 * batch * len(self.avatar.canonical.opacities)
        self._needed = torch.zeros((), dtype=torch.int64).pin_memory()
        self._checked = torch.cuda.Event()
        self._record()

    def _make_inputs(self, avatar: Avatar, camera: Camera, background: Tensor | None) -> None:
        """Copies what every frame shares, once for each of the B pictures."""

        def many(value: Tensor) -> Tensor:
            return copied(value, self.batch, *value.shape)

        own = avatar.body
        missing = self.poser.body.num_expression - own.expression.shape[-1]
        expression = torch.nn.functional.pad(own.expression, (0, missing))
        own = own.replace(expression=expression, offsets=None)  # which the poser has
        self._params = own.map(many)
        self._K = copied(camera.K, self.batch, 3, 3)
        self._view = copied(camera.cam_from_world, self.batch, 4, 4)
        canonical = avatar.canonical
        self._scales, self._opacities = many(canonical.scales), many(canonical.opacities)
        self._colors = many(canonical.colors)
        if background is None:
            background = canonical.colors.new_zeros(3)
        self._background = many(background)  # [B 3]

    @torch.no_grad()
    def _record(self) -> None:
        """Measures what the current inputs need, sizes the buffer and records."""
        needed = int(self._frame()[2])
        self.capacity = -(-int(needed * self.headroom + 1) // 4096) * 4096
        self._recorded = Recorded(self._frame, graph=self.graph)
        self._pending = False

    @property
    def graph_problem(self) -> str | None:
        """Why frames are not replayed as a CUDA graph, None if they are."""
        return self._recorded.problem

    @torch.no_grad()
    def draw(self, params: BodyParams, camera: Camera, *, complete: bool = False) -> Frames:
        """Draws B frames.

        Args:
            params: pose, expression and translation, [B] or one for all; betas and offsets are
                the avatar's, whatever is given.
            camera: [B] or one for all, of the session's size.
            complete: wait for the GPU, and draw again where the buffer was too small.

        Raises:
            ValueError: the camera is of another size.
        """
        if (camera.height, camera.width) != (self.height, self.width):
            raise ValueError(
                f"this session draws {self.width} x {self.height} px, "
                f"the camera has {camera.width} x {camera.height}"
            )
        self._grow_if_needed()
        self._params.pose.copy_(params.pose, non_blocking=True)
        self._params.translation.copy_(params.translation, non_blocking=True)
        self._params.expression[..., : params.expression.shape[-1]].copy_(
            params.expression, non_blocking=True
        )
        self._K.copy_(camera.K, non_blocking=True)
        self._view.copy_(camera.cam_from_world, non_blocking=True)
        rgb, alpha, needed = self._recorded()
        if complete and int(needed) > self.capacity:
            self._record()
            rgb, alpha, needed = self._recorded()
        if not self._pending:
            self._needed.copy_(needed, non_blocking=True)
            self._checked.record()
            self._pending = True
        return Frames(rgb, alpha)

    def _grow_if_needed(self) -> None:
        if not self._pending or not self._checked.query():
            return
        self._pending = False
        if int(self._needed) > self.capacity:
            _log.info("frames need %d places, there were %d", int(self._needed), self.capacity)
            self._record()

    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs to pictures [B 3 H W], coverage [B 1 H W] and places needed []."""
        rows, _ = self.poser(self._params)
        means, quaternions = pose_points(self.avatar, rows, own=False)
        return self.composite(means, quaternions, *self._depth_range(rows))

    def _depth_range(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the nearest and farthest depth [B] of the vertices, widened."""
        return depth_range(rows, self._view, nearest=self.near, margin=DEPTH_MARGIN)

    def composite(
        self, means: Tensor, quaternions: Tensor, near: Tensor, far: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draws posed Gaussians [B N ...] with the session's views; see `_frame`."""
        from gsplat import fully_fused_projection

        radii, centers, depths, conics, _ = fully_fused_projection(
            means,
            None,
            quaternions,
            self._scales,
            self._view[:, None],
            self._K[:, None],
            self.width,
            self.height,
            eps2d=self.eps2d,
            near_plane=self.near,
            packed=False,
            opacities=self._opacities,
        )  # [B 1 N ...]
        bins = bin_gaussians(
            centers[:, 0],
            radii[:, 0],
            conics[:, 0],
            self._opacities,
            depths[:, 0],
            near,
            far,
            height=self.height,
            width=self.width,
            capacity=self.capacity,
            tile=self.tile,
        )
        drawn = self._draw_bins(centers[:, 0], conics[:, 0], bins)
        return *drawn, bins.needed

    def _draw_bins(self, centers: Tensor, conics: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
        """Composites tiles' lists; one frame waits for its longest list, many keep the GPU busy."""
        if self.batch == 1:
            return composite_bins(
                centers,
                conics,
                self._opacities,
                self._colors,
                bins,
                self._background,
                height=self.height,
                width=self.width,
                tile=self.tile,
            )
        from gsplat import rasterize_to_pixels

        rgb, alpha = rasterize_to_pixels(
            centers[:, None],
            conics[:, None],
            self._colors[:, None],
            self._opacities[:, None],
            self.width,
            self.height,
            self.tile,
            bins.offsets[:, None],
            bins.ids,
            backgrounds=self._background[:, None],
        )  # [B 1 H W ...]
        return rgb[:, 0].permute(0, 3, 1, 2), alpha[:, 0].permute(0, 3, 1, 2)


def copied(value: Tensor, *shape: int) -> Tensor:
    """Returns a tensor expanded to `shape`, float32, in memory of its own: frames overwrite it."""
    return value.float().expand(shape).clone(memory_format=torch.contiguous_format)


def _compact(avatar: Avatar) -> Avatar:
    """The avatar with int32 corners, half the bytes that a frame reads for them."""
    binding = avatar.binding
    if avatar.batch_shape:
        raise ValueError(f"a session draws one avatar, got a batch {avatar.batch_shape}")
    ids = binding.vertex_ids.int().contiguous()
    return avatar.replace(binding=binding.replace(vertex_ids=ids))
