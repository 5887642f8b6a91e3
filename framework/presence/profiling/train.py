"""Profile of the training step: samples a second, share of the peak, memory; the decoder alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from presence.engine.distributed import exchange_gradients
from presence.engine.loops import total_loss
from presence.engine.optim import PrecisionOptimWrapper, build_optimizer
from presence.engine.settings import TrainSettings
from presence.interfaces import Encoder
from presence.models.attention import attention_kernels, resolve_attention
from presence.profiling.counting import count_flops, memory_peak
from presence.profiling.report import Stage
from presence.profiling.scene import also, some_sample
from presence.profiling.timing import Timing, measure
from presence.structures import ImageFeatures, Portrait, UVFeatures


class KnownFeatures(Encoder):
    """Returns the same features for every batch, as a warm cache would.

    Args:
        grid: [B C h w].
    """

    grid: Tensor

    def __init__(self, grid: Tensor) -> None:
        super().__init__()
        self.register_buffer("grid", grid, persistent=False)
        self.out_channels = int(grid.shape[1])

    def forward(self, portrait: Portrait) -> ImageFeatures:
        """Returns them whatever the portrait is."""
        return ImageFeatures(self.grid)


def train_stages(
    model: Any,
    config: Any,
    *,
    size: int,
    batch: int,
    device: torch.device,
    repeats: int,
    say: Callable,
    world: int = 1,
) -> Iterator[Stage]:
    """Yields the step with known features and with the live encoder, and the decoder alone.

    Attention runs as the config's `attention` says.

    Args:
        model: `AvatarModel`; its weights are changed.
        config: the whole config, for optimiser and precision.
        size: side of the pictures, px.
        batch: samples a step and process.
        device: where the model lives.
        repeats: timed steps.
        say: receives lines of text.
        world: processes that exchange gradients; all of them have to come here.
    """
    settings = TrainSettings.from_config(config)
    model.train()
    notes: list[str] = []
    chosen = resolve_attention(
        settings.attention, model, device, batch=batch, backward=True, notes=notes
    )
    say(f"  attention: {', '.join([chosen, *notes])}")
    with attention_kernels(chosen):
        yield from _stages(model, settings, size, batch, device, repeats, say, world)


def _stages(
    model: Any,
    settings: TrainSettings,
    size: int,
    batch: int,
    device: torch.device,
    repeats: int,
    say: Callable,
    world: int,
) -> Iterator[Stage]:
    _drop_lpips(model, device, say)
    sample = some_sample(model.body, size, batch, device)
    wrapper = PrecisionOptimWrapper(
        build_optimizer(model, settings.optimizer),
        precision=settings.precision,
        device_type=device.type,
        clip=settings.optimizer.clip,
    )
    live = model.encoder
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=False):
        known = KnownFeatures(live(sample.reference.portrait).grid.float())
    for name, encoder in (("known features", known), ("live encoder", live)):
        model.encoder = encoder
        try:
            yield _step(f"step, {name}", model, wrapper, sample, device, repeats, world)
        finally:
            model.encoder = live
    yield _decoder("decoder, both ways", model, wrapper, sample, known, device, repeats)
    if device.type == "cuda":
        from presence.realtime.compiling import compile_blocks

        compile_blocks(model.decoder)  # in place: what follows runs compiled
        model.encoder = known
        try:
            yield _decoder("decoder, compiled", model, wrapper, sample, known, device, repeats)
            yield _step("step, known, compiled", model, wrapper, sample, device, repeats, world)
        finally:
            model.encoder = live


def _drop_lpips(model: Any, device: torch.device, say: Callable) -> None:
    """Leaves LPIPS out where its trunk is missing, and says so."""
    from presence.evaluation.lpips_net import get_lpips

    weights = getattr(model.reconstruction, "weights", {})
    if weights.get("lpips"):
        network, reason = get_lpips(net=model.reconstruction.net, device=device)
        if network is None:
            say(f"  the step is without LPIPS: {reason}")
            weights["lpips"] = 0.0


def _step(
    name: str,
    model: Any,
    wrapper: Any,
    sample: Any,
    device: torch.device,
    repeats: int,
    world: int,
) -> Stage:
    trained = exchange_gradients(model, device) if world > 1 else model

    def step() -> None:
        with wrapper.optim_context(trained):
            terms = trained(sample, mode="loss")
        wrapper.update_params(total_loss(terms)[0])

    wrapper.initialize_count_status(trained, 0, 10**6)
    flops = _counted(step)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # Equal numbers of steps: every process waits for the others' gradients.
    limit = 10.0 if world == 1 else float("inf")
    timing = measure(step, device, repeats=repeats, limit=limit)
    batch = len(sample.subject)
    facts: dict[str, Any] = dict(batch=batch, samples_per_s=world * batch / timing.seconds)
    if world > 1:
        facts["processes"] = world
    if (peak := memory_peak(device)) is not None:
        facts["peak_gb"] = peak / 1e9
    return Stage("train", name, timing, flops, 0.0, facts)


def _decoder(
    name: str,
    model: Any,
    wrapper: Any,
    sample: Any,
    known: Encoder,
    device: torch.device,
    repeats: int,
) -> Stage:
    """The decoder's forward and backward pass on fixed features."""
    view = sample.reference
    with torch.no_grad():
        features: Any = known(view.portrait)
        canonical, mesh = model.canonical_mesh(view.body), model.pose_body(view.body)
        if model.decoder.needs == "uv":
            features = model.projector(features, view.portrait, mesh, view.camera)
            assert isinstance(features, UVFeatures)
    parameters = [p for p in model.decoder.parameters() if p.requires_grad]
    more = also(model, view.portrait, mesh)

    def both_ways() -> None:
        with wrapper.optim_context(model):
            avatar = model.decoder(features, canonical, view.body, view.camera, **more)
        out = avatar.canonical
        values = (out.means, out.quaternions, out.scales, out.opacities, out.colors)
        torch.autograd.grad(sum(v.float().mean() for v in values), parameters, allow_unused=True)

    flops = _counted(both_ways)
    timing: Timing = measure(both_ways, device, repeats=repeats)
    return Stage("train", name, timing, flops, 0.0, dict(batch=len(view.body.pose)))


def _counted(function: Callable[[], Any]) -> float:
    """Counts operations with compilation switched off: the counter sees torch's operations."""
    with torch.compiler.set_stance("force_eager"):
        return count_flops(function)
