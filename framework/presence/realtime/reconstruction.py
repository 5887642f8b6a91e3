"""`ReconstructionSession`: portraits of one size to avatars, compiled and as one CUDA graph."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from presence.models.attention import AttentionChoice, attention_kernels, resolve_attention
from presence.models.avatar_model import AvatarModel
from presence.models.feedback import FeedbackChain
from presence.realtime.blocks import fuse_blocks
from presence.realtime.compiling import CompileMode, compile_blocks
from presence.realtime.graphs import Recorded
from presence.realtime.heads import FusedHeads, unsuitable
from presence.realtime.linear_gelu import fuse_gelu
from presence.structures import Avatar, BodyParams, Camera, Portrait, ProxyMesh

_log = logging.getLogger(__name__)


class ReconstructionSession:
    """`AvatarModel.reconstruct` for many portraits of one size.

    Works on a copy of the model that shares its weights, but keeps those of linear layers in
    bf16, as autocast would convert them at every call. Blocks that repeat are compiled once
    each, the attribute heads are fused, and everything from body parameters to the avatar is
    recorded into one CUDA graph; the model's `feedback` follows it.

    Args:
        model: on a CUDA device; its weights must not change while the session is used.
        portrait: an example [3 H W] or [B 3 H W]; all others have its shape.
        body: parameters, batched like the portrait.
        camera: batched like the portrait.
        compile: "max-autotune" searches for the fastest matrix products, which takes minutes.
        gelu: "tanh" computes GELU inside the matrix product before it, in its tanh form, whose
            error (5e-4) is of the size of bf16's; "exact" leaves it to a pass of its own.
        attention: the attention kernel to prefer; "auto" takes the fastest.
        graph: whether to record a CUDA graph.

    Attributes:
        notes: what was done and what was not, with reasons.
    """

    def __init__(
        self,
        model: AvatarModel,
        portrait: Portrait,
        body: BodyParams,
        camera: Camera,
        *,
        compile: CompileMode = "default",
        gelu: Literal["exact", "tanh"] = "tanh",
        attention: AttentionChoice = "auto",
        graph: bool = True,
    ) -> None:
        if portrait.device.type != "cuda":
            raise ValueError(f"a session needs CUDA tensors, got {portrait.device}")
        self.notes: list[str] = []
        self._single = not portrait.batch_shape
        if self._single:
            portrait, body, camera = portrait.unsqueeze(), body.unsqueeze(), camera.unsqueeze()
        self.portrait = portrait.map(_own)
        body = body.with_offsets(model.body.topology.num_vertices)  # a later person may have them
        self.body, self.camera = body.map(_own), camera.map(_own)
        self.model = for_inference(model, compile=compile, gelu=gelu, notes=self.notes)
        # It draws with a renderer that may wait for the host, so it is left out of the graph.
        self._feedback, self.model.feedback = self.model.feedback, FeedbackChain()
        self.attention = resolve_attention(
            attention,
            self.model,
            portrait.device,
            batch=portrait.batch_shape[0],
            notes=self.notes,
        )
        self._beside = torch.cuda.Stream(portrait.device)
        self._recorded = Recorded(self._reconstruct, graph=graph)
        self.notes.append(f"CUDA graph: {self._recorded.problem or 'yes'}")

    @torch.no_grad()
    def __call__(self, portrait: Portrait, body: BodyParams, camera: Camera) -> Avatar:
        """Builds an avatar; it is overwritten by the next call, so clone what should stay."""
        filled = body.with_offsets(self.model.body.topology.num_vertices)
        for own, given in (
            (self.portrait, portrait),
            (self.body, filled),
            (self.camera, camera),
        ):
            values = given.tensors()
            for name, value in own.tensors().items():
                value.copy_(values[name], non_blocking=True)
        avatar, posed = self._recorded()
        if posed is not None:
            seen = self.portrait, posed, self.camera
            avatar = self._feedback(avatar, *seen, self.model.renderer)
        if body.offsets is None:
            avatar = avatar.replace(body=avatar.body.replace(offsets=None))
        return avatar[0] if self._single else avatar

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Sets precision and attention as they are while the session works."""
        # A recorded graph must not read casts that autocast keeps outside of it.
        autocast = torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)
        with torch.no_grad(), autocast, attention_kernels(self.attention):
            yield

    def _reconstruct(self) -> tuple[Avatar, ProxyMesh | None]:
        """Returns the avatar before feedback, and the posed body.

        The bodies' many small kernels run beside the encoder's.
        """
        model, main = self.model, torch.cuda.current_stream()
        self._beside.wait_stream(main)
        with self.running():
            with torch.cuda.stream(self._beside):
                meshes = model.bodies(self.body)
            features = model.encoder(self.portrait)
            main.wait_stream(self._beside)
            rest, posed = meshes
            given = rest, posed, self.portrait, self.body, self.camera
            return model.build(features, *given), posed


def for_inference(
    model: AvatarModel,
    *,
    compile: CompileMode = "default",
    gelu: Literal["exact", "tanh"] = "exact",
    notes: list[str] | None = None,
) -> AvatarModel:
    """Returns a copy that shares the model's weights and is prepared for bf16 inference.

    Args:
        model: stays as it is.
        compile: of the blocks that repeat.
        gelu: see `ReconstructionSession`.
        notes: receives what was done.
    """
    notes = notes if notes is not None else []
    shared = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    copied = copy.deepcopy(model, shared).eval()
    decoder = copied.decoder
    heads = getattr(decoder, "heads", None)
    reason = unsuitable(getattr(heads, "mlps", None))
    if reason is None:
        decoder.heads = FusedHeads(heads.mlps)  # type: ignore[union-attr]
    notes.append(f"fused heads: {reason or 'yes'}")
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            _to_bf16(layer)
    if gelu == "tanh":
        notes.append(f"GELU inside matrix products (tanh form): {fuse_gelu(copied)} blocks")
    notes.append(f"fused blocks: {fuse_blocks(copied)}")
    if compile != "none":
        # `compile_blocks` leaves float32 residual streams as they are: numbers do not change.
        count = compile_blocks(copied, mode=compile)
        notes.append(f"compiled blocks: {count} ({compile})")
    return copied


def _own(value: Tensor) -> Tensor:
    return value.float().clone()


def _to_bf16(layer: nn.Module) -> None:
    for name, value in _own_parameters(layer):
        if value.dtype == torch.float32:
            kept = nn.Parameter(value.detach().bfloat16(), requires_grad=False)
            setattr(layer, name, kept)


def _own_parameters(layer: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    yield from list(layer.named_parameters(recurse=False))
