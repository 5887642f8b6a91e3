"""Profile of portrait to avatar: eager stages, then the compiled session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from presence.profiling.blocks import block_stages
from presence.profiling.counting import count_flops, memory_peak, size_of
from presence.profiling.report import Stage
from presence.profiling.scene import also, some_sample
from presence.profiling.timing import measure


def reconstruct_stages(
    model: Any, *, size: int, device: torch.device, repeats: int, compile: str, say: Callable
) -> Iterator[Stage]:
    """Yields encode, project, decode, the whole, and blocks' kernels alone; on CUDA also a session.

    The batch is 1.

    Args:
        model: `AvatarModel`.
        size: side of the portrait, px.
        device: where it lives.
        repeats: timed calls.
        compile: mode of the session, see `ReconstructionSession`.
        say: receives lines of text.
    """
    model.eval()
    view = some_sample(model.body, size, 1, device).reference
    work: dict[str, float] = {}
    with torch.no_grad(), _networks(device):
        for stage in _eager(model, view, device, repeats):
            work[stage.name] = stage.flops
            yield stage

        def whole() -> Any:
            return model.reconstruct(view.portrait, view.body, view.camera)

        yield from block_stages("reconstruct", model, whole, device, repeats)
    if device.type != "cuda":
        return
    flops = work["encode"] + work["decode"]
    yield from _session(model, view, device, repeats, compile, flops, say)


def _networks(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _eager(model: Any, view: Any, device: torch.device, repeats: int) -> Iterator[Stage]:
    portrait, body, camera = view.portrait, view.body, view.camera

    def timed(name: str, function: Callable, flops: float, moved: float) -> Stage:
        return Stage("reconstruct", name, measure(function, device, repeats=repeats), flops, moved)

    canonical, mesh = model.bodies(body)
    yield timed("bodies", lambda: model.bodies(body), 0.0, size_of([model.body, canonical, mesh]))
    features = model.encoder(portrait)
    flops = count_flops(lambda: model.encoder(portrait))
    moved = size_of([model.encoder, portrait, features])
    yield timed("encode", lambda: model.encoder(portrait), flops, moved)
    if model.decoder.needs == "uv":
        uv = model.projector(features, portrait, mesh, camera)
        moved = size_of([features, portrait, mesh, uv]) + _constants(model.projector)

        def project() -> Any:
            return model.projector(features, portrait, mesh, camera)

        yield timed("project", project, 0.0, moved)
        features = uv

    def decode() -> Any:
        return model.decoder(features, canonical, body, camera, **also(model, portrait, mesh))

    moved = size_of([features, decode().canonical, *model.decoder.parameters()])
    yield timed("decode", decode, count_flops(decode), moved)

    def whole() -> Any:
        return model.reconstruct(portrait, body, camera)

    yield timed("whole, eager", whole, count_flops(whole), 0.0)


def _constants(projector: Any) -> float:
    return size_of([projector.surface.vertex_ids, projector.surface.barycentrics])


def _session(
    model: Any,
    view: Any,
    device: torch.device,
    repeats: int,
    compile: str,
    flops: float,
    say: Callable,
) -> Iterator[Stage]:
    from presence.realtime.reconstruction import ReconstructionSession

    torch.cuda.reset_peak_memory_stats(device)
    inputs = view.portrait, view.body, view.camera
    session = ReconstructionSession(model, *inputs, compile=compile)  # type: ignore[arg-type]
    for note in session.notes:
        say(f"  session: {note}")
    timing = measure(lambda: session(*inputs), device, repeats=repeats)
    facts = dict(compile=compile, peak_gb=(memory_peak(device) or 0) / 1e9)
    yield Stage("reconstruct", "whole, session", timing, flops, 0.0, facts)
    with session.running():
        yield from _inner(session, session.model, device, repeats, timing.seconds)


def _inner(
    session: Any, fast: Any, device: torch.device, repeats: int, whole: float
) -> Iterator[Stage]:
    """The session's stages, each as a CUDA graph of its own."""
    from presence.realtime.graphs import Recorded

    portrait, body, camera = session.portrait, session.body, session.camera
    canonical, mesh = fast.bodies(body)
    features = fast.encoder(portrait)
    stages = {"encode": lambda: fast.encoder(portrait)}
    if fast.decoder.needs == "uv":
        image = features
        features = fast.projector(image, portrait, mesh, camera)
        stages["project"] = lambda: fast.projector(image, portrait, mesh, camera)
    stages["decode"] = lambda: fast.decoder(
        features, canonical, body, camera, **also(fast, portrait, mesh)
    )
    stages["bodies"] = lambda: fast.bodies(body)
    for name, function in stages.items():
        recorded = Recorded(function)
        timing = measure(recorded, device, repeats=repeats)
        facts = dict(share_of_whole=timing.seconds / whole, graph=recorded.problem or "yes")
        yield Stage("session", name, timing, 0.0, 0.0, facts)
