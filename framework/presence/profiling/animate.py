"""Profile of avatar to frames: posing, gsplat's rasterization alone, and the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from presence.profiling.counting import size_of
from presence.profiling.report import Stage
from presence.profiling.scene import dense_avatar, some_pose, whole_body
from presence.profiling.timing import measure
from presence.structures import stack

POINTS = 512 * 512


def animate_stages(
    model: Any,
    *,
    device: torch.device,
    repeats: int,
    say: Callable,
    size: int = 512,
    points: int | None = None,
    batches: tuple[int, ...] = (1, 8),
) -> Iterator[Stage]:
    """Yields the stages of one call that draws B frames, for every B.

    Args:
        model: its body, surface and renderer are used.
        device: where it lives.
        repeats: timed calls.
        say: receives lines of text.
        size: side of the pictures, px.
        points: Gaussians; None for 262,144 on CUDA and for the model's own elsewhere.
        batches: frames a call.
    """
    cuda = device.type == "cuda"
    surface = getattr(model.projector, "surface", None) or model.decoder.surface
    points = points or (POINTS if cuda else len(surface))
    avatar = dense_avatar(model.body, surface, points, device)
    for batch in batches if cuda else batches[:1]:
        yield from _frames(model, avatar, size, batch, device, repeats, say)


def _frames(
    model: Any, avatar: Any, size: int, batch: int, device: torch.device, repeats: int, say: Any
) -> Iterator[Stage]:
    params = some_pose(model.body, batch, device)
    camera = whole_body(model.body, size, batch, device)
    many = stack([avatar] * batch)
    part = f"animate B={batch}"

    def facts(timing: Any, **more: Any) -> dict[str, Any]:
        return dict(fps=batch / timing.seconds, **more)

    with torch.no_grad():
        mesh = model.pose_body(params)
        timing = measure(lambda: model.pose_body(params), device, repeats=repeats)
        yield Stage(part, "body, torch", timing, 0.0, size_of([mesh]))
        posed = many.pose(mesh)
        moved = size_of([many.canonical.means, many.canonical.quaternions, many.binding])
        moved += size_of([mesh.vertices, mesh.skin_rotations, posed.means, posed.quaternions])
        timing = measure(lambda: many.pose_reference(mesh), device, repeats=repeats)
        yield Stage(part, "pose Gaussians, torch", timing, 0.0, moved)
        if device.type == "cuda":
            timing = measure(lambda: many.pose(mesh), device, repeats=repeats)
            yield Stage(part, "pose Gaussians, fused", timing, 0.0, moved)
        frame = model.renderer(posed, camera)
        moved = size_of([posed, frame.rgb, frame.alpha])
        timing = measure(lambda: model.renderer(posed, camera), device, repeats=repeats)
        yield Stage(part, "renderer, posed", timing, 0.0, moved, facts(timing))

        def eager() -> Any:
            return model.renderer(many.pose(model.pose_body(params)), camera)

        timing = measure(eager, device, repeats=repeats)
        yield Stage(part, "all, eager", timing, 0.0, moved, facts(timing))
    if device.type == "cuda":
        yield from _session(model, avatar, posed, params, camera, device, repeats, say, moved)


def _session(
    model: Any,
    avatar: Any,
    posed: Any,
    params: Any,
    camera: Any,
    device: torch.device,
    repeats: int,
    say: Callable,
    moved: float,
) -> Iterator[Stage]:
    from gsplat import rasterization

    from presence.realtime.animation import AnimationSession
    from presence.realtime.graphs import Recorded

    batch = len(params.pose)
    part = f"animate B={batch}"

    def rasterize() -> Any:
        return rasterization(
            posed.means, posed.quaternions, posed.scales, posed.opacities, posed.colors,
            camera.cam_from_world[:, None], camera.K[:, None], camera.width, camera.height,
            packed=False,
        )  # fmt: skip

    with torch.no_grad():
        timing = measure(rasterize, device, repeats=repeats)
    base = timing.seconds
    yield Stage(part, "gsplat, posed", timing, 0.0, moved, dict(fps=batch / base))
    session = AnimationSession(avatar, model.body, camera, batch=batch)
    session.draw(params, camera)
    say(f"  session B={batch}: graph {session.graph_problem or 'yes'}; room for "
        f"{session.capacity} pairs of Gaussian and tile")  # fmt: skip
    timing = measure(lambda: session.draw(params, camera), device, repeats=repeats)
    facts = dict(fps=batch / timing.seconds, over_gsplat=timing.seconds / base)
    yield Stage(part, "all, session", timing, 0.0, moved, facts)
    with torch.no_grad():
        rows = session.poser(session._params)[0]
        near, far = session._depth_range(rows)
        for name, work in {
            "session: body": lambda: session.poser(session._params),
            "session: composite": lambda: session.composite(
                posed.means, posed.quaternions, near, far
            ),
        }.items():
            timing = measure(Recorded(work), device, repeats=repeats)
            yield Stage(part, name, timing, 0.0, 0.0, dict(fps=batch / timing.seconds))
