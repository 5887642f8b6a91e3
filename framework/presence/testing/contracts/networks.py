"""Contracts of encoders, projectors and decoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from presence.interfaces import Body, Decoder, Encoder, Projector
from presence.structures import (
    Avatar,
    Camera,
    Gaussians,
    ImageFeatures,
    ProxyMesh,
    UVFeatures,
)
from presence.testing.contracts.common import (
    facing_camera,
    require,
    require_equal,
    require_finite,
    sample_people,
    sample_portrait,
)


def check_encoder(encoder: Encoder, *, size: int = 64, device: str = "cpu") -> None:
    """Checks an encoder: channels as announced, pictures independent, deterministic, trainable.

    Args:
        encoder: on `device`.
        size: side of the pictures, px.
        device: where to run.

    Raises:
        ContractError: what is broken.
    """
    portrait = sample_portrait(2, size, device)
    before = portrait.rgb.clone()
    with _eval(encoder), torch.no_grad():
        features = encoder(portrait)
        require(isinstance(features, ImageFeatures), encoder, "forward should give ImageFeatures")
        require(features.batch_shape == (2,), encoder, "features should be batched like portraits")
        channels = features.grid.shape[1]
        require(
            channels == encoder.out_channels,
            encoder,
            f"out_channels is {encoder.out_channels}, but features have {channels} channels",
        )
        require_finite(features, encoder)
        require_equal(encoder(portrait), features, encoder, "eval mode should be deterministic")
        require_equal(
            encoder(portrait[:1]),
            features[:1],
            encoder,
            "a picture's features should not depend on the rest of the batch",
            atol=1e-4,
        )
    require(torch.equal(portrait.rgb, before), encoder, "the portrait should not be changed")
    _check_gradients(encoder, lambda: encoder(portrait).grid.float().square().mean())


def check_projector(
    projector: Projector, body: Body, *, channels: int = 6, size: int = 64, device: str = "cpu"
) -> None:
    """Checks a projector: nothing learned, linear in the features, zero where unseen.

    Args:
        projector: on `device`.
        body: the body it was built for, on `device`.
        channels: C of the features to project.
        size: side of the portraits, px.
        device: where to run.

    Raises:
        ContractError: what is broken.
    """
    learned = [name for name, p in projector.named_parameters() if p.requires_grad]
    require(not learned, projector, f"a projector learns nothing, but has {learned[:3]}")
    require(not projector.state_dict(), projector, "constants should be non-persistent buffers")
    inputs = _projection_inputs(body, channels, size, device)
    features, rest = inputs[0], inputs[1:]
    with _eval(projector), torch.no_grad():
        uv = projector(*inputs)
        require(isinstance(uv, UVFeatures), projector, "forward should give UVFeatures")
        require(uv.batch_shape == (2,), projector, "the result should be batched like portraits")
        for name in ("core", "shell"):
            grid, seen = getattr(uv, name), getattr(uv, f"{name}_seen")
            require(grid.shape[1] == channels, projector, f"{name} should keep the channels")
            require(((seen >= 0) & (seen <= 1 + 1e-5)).all(), projector, f"{name}_seen in 0..1")
            unseen = (seen == 0).expand_as(grid)
            require((grid[unseen] == 0).all(), projector, f"{name} should be 0 where unseen")
        require(uv.core_seen.sum() > 0, projector, "a person in full view should be seen")
        require_finite(uv, projector)
        doubled = projector(features.replace(grid=2 * features.grid), *rest)
        require_equal(
            doubled.replace(core=doubled.core / 2, shell=doubled.shell / 2),
            uv,
            projector,
            "the projection should be linear in the features",
            atol=1e-4,
        )
        alone = projector(*(value[:1] for value in inputs))
        require_equal(alone, uv[:1], projector, "people should not see each other", atol=1e-4)


def check_decoder(
    decoder: Decoder,
    body: Body,
    features: UVFeatures | ImageFeatures,
    *,
    device: str = "cpu",
) -> None:
    """Checks a decoder: valid Gaussians bound to the body, posable, deterministic, trainable.

    Args:
        decoder: on `device`.
        body: the body it was built for, on `device`.
        features: a batch of two, of the kind and shape that the decoder expects.
        device: where to run.

    Raises:
        ContractError: what is broken.
    """
    expected = {"uv": UVFeatures, "image": ImageFeatures}
    require(decoder.needs in expected, decoder, f"`needs` is {decoder.needs!r}: 'uv' or 'image'")
    require(
        isinstance(features, expected[decoder.needs]),
        decoder,
        f"it needs {expected[decoder.needs].__name__}, the test gave {type(features).__name__}",
    )
    people = sample_people(body, 2, device)
    camera = facing_camera(body, 2, 64, device)
    with torch.no_grad():
        canonical: ProxyMesh = body(people.at_rest())
        posed: ProxyMesh = body(people)
    known = dict(portrait=sample_portrait(2, 64, device), posed=posed)
    unknown = [name for name in decoder.also if name not in known]
    require(not unknown, decoder, f"`also` names {unknown}: {', '.join(known)} can be had")
    also: dict[str, Any] = {name: known[name] for name in decoder.also}
    with _eval(decoder), torch.no_grad():
        avatar = decoder(features, canonical, people, camera, **also)
        _check_avatar(decoder, avatar, posed)
        again = decoder(features, canonical, people, camera, **also)
        require_equal(again, avatar, decoder, "eval mode should be deterministic")
        first = {name: value[:1] for name, value in also.items()}
        alone = decoder(features[:1], canonical[:1], people[:1], camera[:1], **first)
        require_equal(alone, avatar[:1], decoder, "avatars should not see each other", atol=1e-3)

    def loss() -> Tensor:
        avatar = decoder(features, canonical, people, camera, **also)
        gaussians = avatar.canonical
        parts = [gaussians.means, gaussians.scales, gaussians.opacities, gaussians.colors]
        if type(decoder).finish is not Decoder.finish:
            parts.append(_refined(decoder, avatar.pose(posed), camera))
        return sum(
            part.float().square().mean() for part in (*parts, gaussians.quaternions[..., 1:])
        )

    _check_gradients(decoder, loss)


def _refined(decoder: Decoder, posed: Gaussians, camera: Camera) -> Tensor:
    """Draws the avatars and lets the decoder finish the pictures [B 3 H W]."""
    from presence.rendering import build_renderer

    renderer = build_renderer()
    raw = renderer(posed, camera)
    final = decoder.finish(raw, posed, camera, None, renderer)
    require(final.rgb.shape == raw.rgb.shape, decoder, "`finish` should keep the picture's size")
    require_finite(final, decoder)
    return final.rgb


def _check_avatar(decoder: Decoder, avatar: Avatar, posed: ProxyMesh) -> None:
    require(isinstance(avatar, Avatar), decoder, "forward should give an Avatar")
    require(avatar.batch_shape == (2,), decoder, "the avatar should be batched like the features")
    require_finite(avatar, decoder)
    gaussians, binding = avatar.canonical, avatar.binding
    count = gaussians.means.shape[-2]
    require(binding.vertex_ids.shape[0] == count, decoder, "every Gaussian needs a bound point")
    require(
        binding.vertex_ids.min() >= 0 and binding.vertex_ids.max() < posed.vertices.shape[-2],
        decoder,
        "bound points should name vertices of the body",
    )
    total = binding.barycentrics.sum(-1)
    require((total - 1).abs().max() < 1e-4, decoder, "barycentrics should sum to 1")
    require((gaussians.scales > 0).all(), decoder, "scales should be positive")
    for name in ("opacities", "colors"):
        value = getattr(gaussians, name)
        require((value >= 0).all() and (value <= 1).all(), decoder, f"{name} should be in 0..1")
    require(gaussians.means.dtype == torch.float32, decoder, "Gaussians should be float32")
    require_finite(avatar.pose(posed), decoder)


def _projection_inputs(body: Body, channels: int, size: int, device: str) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(4)
    grid = torch.randn(2, channels, size // 8, size // 8, generator=generator).to(device)
    portrait = sample_portrait(2, size, device)
    portrait = portrait.replace(alpha=torch.ones_like(portrait.alpha))
    people = sample_people(body, 2, device)
    with torch.no_grad():
        mesh = body(people)
    return ImageFeatures(grid), portrait, mesh, facing_camera(body, 2, size, device)


def _check_gradients(module: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Requires finite gradients, and that training reaches the trainable parameters."""
    trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        return
    was_training = module.training
    module.train()
    module.zero_grad(set_to_none=True)
    loss().backward()
    missing = [name for name, p in trainable.items() if p.grad is None]
    broken = [n for n, p in trainable.items() if p.grad is not None and not p.grad.isfinite().all()]
    module.zero_grad(set_to_none=True)
    module.train(was_training)
    require(not missing, module, f"no gradient reaches {missing[:3]} (several GPUs would hang)")
    require(not broken, module, f"the gradient of {broken[:3]} is not finite")


class _eval:  # noqa: N801 - reads as a word in `with`
    """Puts a module into eval mode for the time of a block."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._was = module, module.training

    def __enter__(self) -> None:
        self._module.eval()

    def __exit__(self, *error: Any) -> None:
        self._module.train(self._was)
