"""`AvatarModel`: reconstruct, animate and loss, put together from a config's components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from presence.errors import ConfigError
from presence.interfaces import Body, Decoder, Encoder, GaussianRenderer, Projector
from presence.losses import ReconstructionLoss, Regularizer
from presence.models.feedback import FeedbackChain, build_feedback
from presence.projection import blend_uv, build_surface
from presence.registry import (
    BODIES,
    DECODERS,
    ENCODERS,
    LOSSES,
    MODELS,
    PROJECTORS,
    RASTERIZERS,
    RENDERERS,
)
from presence.structures import (
    Avatar,
    BodyParams,
    Camera,
    Gaussians,
    Portrait,
    ProxyMesh,
    Rendering,
    TrainSample,
    View,
    cat,
)


@MODELS.register()
class AvatarModel(BaseModel):
    """One portrait to an animatable avatar, and the objective it is trained with.

    Args:
        body: the body model; not trained and not saved with the weights.
        encoder: portrait to image features.
        projector: image features to UV; None for decoders that read image features.
        decoder: features to canonical Gaussians.
        renderer: Gaussians to pixels.
        reconstruction: image loss.
        regularizers: terms on the avatar alone.
        feedback: corrects the avatar by its drawing, outside training.
        data_preprocessor: mmengine's, moves batches to the device.
    """

    def __init__(
        self,
        body: Body,
        encoder: Encoder,
        projector: Projector | None,
        decoder: Decoder,
        renderer: GaussianRenderer,
        *,
        reconstruction: ReconstructionLoss | None = None,
        regularizers: Sequence[Regularizer] = (),
        feedback: FeedbackChain | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.body, self.encoder, self.projector, self.decoder = body, encoder, projector, decoder
        self.renderer = renderer
        self.reconstruction = reconstruction or ReconstructionLoss(lpips=0.0)
        self.regularizers = nn.ModuleList(regularizers)
        self.feedback = FeedbackChain() if feedback is None else feedback

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> AvatarModel:
        """Builds every component of `cfg` from its registry.

        Args:
            cfg: dict(body, map_size, rasterizer, encoder, projector, decoder, renderer,
                reconstruction, regularizers, feedback); see docs/configs.md.

        Raises:
            ConfigError: a component or option is unknown.
        """
        body = BODIES.build(cfg["body"])
        rasterizer = RASTERIZERS.build(cfg["rasterizer"])
        built: dict[str, Any] = dict(body=body, rasterizer=rasterizer)
        built["surface"] = build_surface(body, cfg["map_size"])
        encoder = ENCODERS.build(cfg["encoder"], **built)
        built["in_channels"] = encoder.out_channels
        has_projector = cfg.get("projector") is not None
        projector = PROJECTORS.build(cfg["projector"], **built) if has_projector else None
        terms = cfg.get("regularizers", ())
        return cls(
            body=body,
            encoder=encoder,
            projector=projector,
            decoder=DECODERS.build(cfg["decoder"], **built),
            renderer=RENDERERS.build(cfg["renderer"], **built),
            reconstruction=LOSSES.build(cfg["reconstruction"], **built),
            regularizers=[LOSSES.build(term, **built) for term in terms],
            feedback=build_feedback(cfg.get("feedback"), built["surface"]),
        )

    def reconstruct(self, portrait: Portrait, body: BodyParams, camera: Camera) -> Avatar:
        """Builds an avatar from a portrait whose body and camera are known.

        Args:
            portrait: [3 H W] or batched.
            body: tracked parameters, batched alike.
            camera: the portrait's camera.
        """
        if not portrait.batch_shape:
            one = self.reconstruct(portrait.unsqueeze(), body.unsqueeze(), camera.unsqueeze())
            return one[0]
        meshes = self.bodies(body)
        return self.build(self.encoder(portrait), *meshes, portrait, body, camera)

    def bodies(self, body: BodyParams) -> tuple[ProxyMesh, ProxyMesh | None]:
        """Returns the canonical mesh and the posed one, None where nothing looks at it.

        Args:
            body: [B].
        """
        corrects = len(self.feedback) > 0 and not self.training
        if not (corrects or self.decoder.needs == "uv" or "posed" in self.decoder.also):
            return self.canonical_mesh(body), None
        both = self.pose_body(cat([body.at_rest(), body]))  # many small steps, taken once
        count = body.batch_shape[0]
        return both[:count], both[count:]

    def build(
        self,
        features: Any,
        canonical: ProxyMesh,
        posed: ProxyMesh | None,
        portrait: Portrait,
        body: BodyParams,
        camera: Camera,
    ) -> Avatar:
        """Builds avatars [B] from the encoder's features and the meshes of `bodies`."""
        if self.decoder.needs == "uv":
            assert self.projector is not None, "a UV decoder needs a projector"
            features = self.projector(features, portrait, posed, camera)
        avatar = self.decoder(features, canonical, body, camera, **self._also(portrait, posed))
        if posed is None or self.training:
            return avatar
        return self._fed_back(avatar, portrait, posed, camera)

    def _fed_back(
        self, avatar: Avatar, portrait: Portrait, posed: ProxyMesh, camera: Camera
    ) -> Avatar:
        with torch.autocast(avatar.device.type, enabled=False):
            return self.feedback(avatar, portrait, posed, camera, self.renderer)

    def _also(self, portrait: Portrait, posed: ProxyMesh | None) -> dict[str, Any]:
        """What the decoder asks for besides features."""
        offered = dict(portrait=portrait, posed=posed)
        return {name: offered[name] for name in self.decoder.also}

    def reconstruct_many(
        self,
        portraits: Portrait,
        body: BodyParams,
        camera: Camera,
        weights: Sequence[float] | None = None,
        *,
        geometry: Literal["first", "blend"] = "first",
    ) -> Avatar:
        """Builds one avatar from several portraits of one person, blended in UV.

        Each portrait is projected with its own pose and camera; see `presence.projection.blend_uv`.
        Before that, decoders may read colours where the first portrait's Gaussians are in each of
        them*, see `Decoder.settle`. The avatar has the shape, pose and camera of the first.
        Feedback corrects what comes from the first alone: it would pull the blend's colours
        towards one of the portraits.

        Args:
            portraits: [K 3 H W], of one size.
            body: [K] tracked parameters.
            camera: [K].
            weights: trust in each portrait; equal if None.
            geometry: "blend" decodes everything from the blend, as in the paper; "first" takes
                the colours from it, and offsets, sizes and opacities from the first portrait.
                Models trained on single portraits never saw a person from all around, and puff
                up the body when they do*.

        Raises:
            ConfigError: the decoder does not work in UV; a weight is missing or none is positive.
        """
        count = portraits.batch_shape[0]
        if self.decoder.needs != "uv":
            raise ConfigError(
                f"{type(self.decoder).__name__} reads the image plane, so it takes one portrait; "
                "several are blended in UV"
            )
        if weights is not None and (
            len(weights) != count or min(weights) < 0 or not sum(weights) > 0
        ):
            raise ConfigError(
                f"{count} portraits need {count} weights of 0 or more, one above 0, "
                f"got {list(weights)}"
            )
        assert self.projector is not None, "a UV decoder needs a projector"
        posed = self.pose_body(body)
        uv = self.projector(self.encoder(portraits), portraits, posed, camera)
        front = portraits[:1], posed[:1], camera[:1]
        given = self.canonical_mesh(body[:1]), body[:1], camera[:1]
        also = self._also(*front[:2])
        one = self._fed_back(self.decoder(uv[:1], *given, **also), *front)
        uv = self.decoder.settle(uv, one, portraits, posed, camera)
        avatar = self.decoder(blend_uv(uv, weights).unsqueeze(), *given, **also)[0]
        if geometry == "blend":
            return avatar
        colors = avatar.canonical.colors
        return one[0].replace(canonical=one[0].canonical.replace(colors=colors))

    def animate(
        self,
        avatar: Avatar,
        body: BodyParams,
        camera: Camera,
        background: Tensor | None = None,
    ) -> Rendering:
        """Draws an avatar in another pose, expression or camera.

        Args:
            avatar: one avatar or a batch.
            body: what to pose it to, batched alike; its betas and offsets should be the avatar's.
            camera: the view.
            background: [3] or [B 3] colour, black if None.
        """
        gaussians, rendering = self._splat(avatar, body, camera, background)
        return self.decoder.finish(rendering, gaussians, camera, background, self.renderer)

    def _splat(
        self, avatar: Avatar, body: BodyParams, camera: Camera, background: Tensor | None
    ) -> tuple[Gaussians, Rendering]:
        """The posed Gaussians [B N ...] and their raw rendering [B 3 H W], in float32."""
        with torch.autocast(avatar.device.type, enabled=False):
            gaussians = avatar.pose(self.pose_body(body))
            return gaussians, self.renderer(gaussians, camera, background)

    def pose_body(self, body: BodyParams) -> ProxyMesh:
        """Poses the body model to parameters [...] in float32, also under autocast."""
        with torch.autocast(body.pose.device.type, enabled=False):
            return self.body(body)

    def canonical_mesh(self, body: BodyParams) -> ProxyMesh:
        """The persons' own shapes [...], without expression, in the rest pose at the origin."""
        return self.pose_body(body.at_rest())

    def loss(self, sample: TrainSample) -> dict[str, Tensor]:
        """Returns the terms of Eq. 5 for a batch, scalars; those named `loss_...` are summed.

        Args:
            sample: [B] pairs of a reference, which is reconstructed, and a target view.
        """
        reference = sample.reference
        avatar = self.reconstruct(reference.portrait, reference.body, reference.camera)
        batch = avatar.batch_shape[0]
        background = torch.rand(batch, 3, device=avatar.device)
        terms: dict[str, Tensor] = {}
        for name, view in (("reference", reference), ("target", sample.target)):
            gaussians, raw = self._splat(avatar, view.body, view.camera, background)
            final = self.decoder.finish(raw, gaussians, view.camera, background, self.renderer)
            compared = self.reconstruction(final, view.portrait, background)
            terms.update({f"loss_{name}_{term}": value for term, value in compared.items()})
            if final is not raw:  # a refiner must not leave the raw rendering to itself
                compared = self.reconstruction(raw, view.portrait, background)
                terms.update({f"loss_{name}_raw_{t}": value for t, value in compared.items()})
        for regularizer in self.regularizers:
            terms[f"loss_{regularizer.name}"] = regularizer(avatar)
        return terms

    @torch.no_grad()
    def predict(self, sample: TrainSample, background: Tensor | None = None) -> dict[str, Any]:
        """Returns the avatars [B] and their renderings in both views.

        Args:
            sample: [B] pairs of views.
            background: [3] or [B 3] colour, black if None.
        """
        reference = sample.reference
        avatar = self.reconstruct(reference.portrait, reference.body, reference.camera)
        return dict(
            avatar=avatar,
            reference=self._draw(avatar, reference, background),
            target=self._draw(avatar, sample.target, background),
        )

    def _draw(self, avatar: Avatar, view: View, background: Tensor | None) -> Rendering:
        return self.animate(avatar, view.body, view.camera, background)

    def forward(
        self, sample: TrainSample, mode: Literal["loss", "predict"] = "loss"
    ) -> dict[str, Any]:
        """Mmengine's entry: `loss` while training, `predict` otherwise."""
        return self.loss(sample) if mode == "loss" else self.predict(sample)
