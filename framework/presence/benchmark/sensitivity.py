"""How far an avatar moves when only the framing of its portrait does.

The paper's central claim is that features in UV space do not depend on where the person stands in
the picture. So one large picture of a person is seen through several windows (shifted, scaled,
cropped; the true camera follows), and the avatars are compared in canonical space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.benchmark.subjects import Blocks
from presence.datasets import crop_view
from presence.evaluation import get_lpips, union_mask
from presence.interfaces import Body
from presence.registry import DATASETS
from presence.structures import Avatar, Camera, TrainSample, View, stack

# Window of a transformation, relative to the base window: right and down (in its sides), and size.
TRANSFORMS: dict[str, tuple[float, float, float]] = {
    "shift right": (0.15, 0.0, 1.0),
    "shift left": (-0.15, 0.0, 1.0),
    "shift down": (0.0, 0.1, 1.0),
    "shift up": (0.0, -0.1, 1.0),
    "scale out": (-0.2, -0.2, 1.4),
    "scale in": (0.125, 0.05, 0.75),
    "crop": (0.2, 0.0, 0.6),
}
KINDS = ("shift", "scale", "crop", "pose")


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What is moved, and on whom.

    Attributes:
        data: config of a data set of whole people in pictures about twice as large as `size`; where
            targets have another pose than references, they are the transformation "pose".
        subjects: how many of its samples are used.
        size: side of the portraits and of the canonical view, px.
        net: LPIPS's trunk.
    """

    data: Mapping[str, Any]
    subjects: int = 16
    size: int = 384
    net: Literal["squeeze", "alex", "vgg"] = "squeeze"


@torch.no_grad()
def measure_sensitivity(
    model: Any,
    options: Sensitivity,
    *,
    device: torch.device,
    precision: str,
    batch_size: int = 4,
) -> dict[str, Any]:
    """Measures how far avatars move with the framing of their portrait.

    Every avatar is drawn on the average body in the rest pose, over white, in `canonical_view`:
    head and chest, which every transformation shows in the portrait. Differences are between a
    transformation and the base; differences between people are of what was decoded, not of shape.

    Args:
        model: with `reconstruct`, `animate`, `canonical_mesh` and `body`, in eval mode.
        options: on whom.
        device: where the model is.
        precision: "bf16" reconstructs under autocast.
        batch_size: subjects at once.

    Returns:
        `moves`: transformation to means over subjects of `rms` (of colours, over the union of both
        masks, 0..1), `lpips`, `offset` (mm, of the Gaussians) and `color` (root mean square of
        theirs); `kinds`, the same by kind of transformation; `mean`, over the transformations of
        the framing, with `psnr` of the mean square; `between`, the `rms` between different people,
        the yardstick; `missing`, why LPIPS was not computed, None where it was.
    """
    from presence.engine.trainer import data_collaborators

    offered = data_collaborators(model, device)
    source = Blocks(DATASETS.build(options.data, **offered), size=batch_size, device=device)
    network, missing = get_lpips(options.net, device)
    moves: dict[str, list[dict[str, float]]] = {}
    people: list[_Seen] = []
    count = min(options.subjects, len(source))
    for first in range(0, count, batch_size):
        sample = stack([source[i] for i in range(first, min(first + batch_size, count))])
        framed = framings(sample, model.body, options.size)
        base = _look(model, next(framed)[1], options.size, precision)
        people.append(base)
        for name, view in framed:
            seen = _look(model, view, options.size, precision)
            moves.setdefault(name, []).extend(_compare(base, seen, network))
    return _summarise(moves, _between(people), missing)


def framings(sample: TrainSample, body: Body, size: int) -> Iterator[tuple[str, View]]:
    """Yields the base framing, every one of `TRANSFORMS`, and the target's base framing as "pose".

    Args:
        sample: a batch of whole people.
        body: their body model.
        size: side of the portraits, px.
    """
    reference = sample.reference
    window = half_body_windows(reference, body)
    for name, (right, down, scale) in {"base": (0.0, 0.0, 1.0), **TRANSFORMS}.items():
        side = window[:, 2:]
        corner = window[:, :2] + side * side.new_tensor([right, down])
        yield name, _through(reference, torch.cat([corner, scale * side], -1), size)
    yield "pose", _through(sample.target, half_body_windows(sample.target, body), size)


def half_body_windows(view: View, body: Body) -> Tensor:
    """Returns [B 3] left, top and side, px, of squares around people from head to pelvis."""
    mesh = body(view.body)
    pixels, _ = view.camera.project(mesh.vertices)  # [B V 2]
    joints, _ = view.camera.project(mesh.joints[:, [0, 15]])  # [B 2 2] pelvis and head
    top = pixels[..., 1].amin(-1)
    height = (joints[:, 0, 1] - top).clamp_min(8.0)
    side = 1.35 * height
    return torch.stack([joints[..., 0].mean(-1) - side / 2, top - 0.12 * side, side], -1)


def canonical_view(body: Body, size: int) -> Camera:
    """Returns the camera, the same for everybody, of the average body's head and chest.

    It shows a third of the stature from above the head downwards, from the front.
    """
    rest = body(body.default_params()).rest_vertices  # [V 3]
    high, low = rest[:, 1].amax(), rest[:, 1].amin()
    extent = 0.32 * (high - low)
    target = torch.stack([rest.new_zeros(()), high - 0.42 * extent, rest.new_zeros(())])
    fov = math.radians(20.0)
    distance = extent / (2 * math.tan(fov / 2))
    eye = target + torch.stack([distance.new_zeros(()), distance.new_zeros(()), distance])
    return Camera.look_at(eye, target, fov, size, size)


def _through(view: View, windows: Tensor, size: int) -> View:
    """Views through windows, resized to `size`; twice as fine between, so that nothing aliases."""
    large = max(view.portrait.size)
    seen = crop_view(view, windows)
    if large == size:
        return seen
    portrait = seen.portrait.map(lambda p: F.interpolate(p, (size, size), mode="area"))
    return seen.replace(portrait=portrait, camera=seen.camera.resized(size, size))


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Avatars and their canonical pictures: colours over white and coverage, [B 4 S S]."""

    avatar: Avatar
    drawn: Tensor


def _look(model: Any, view: View, size: int, precision: str) -> _Seen:
    device = view.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        avatar = model.reconstruct(view.portrait, view.body, view.camera)
        rest = view.body.map(torch.zeros_like)
        one, count = canonical_view(model.body, size), view.batch_shape[0]
        camera = one.map(lambda value: value.expand(count, *value.shape).contiguous())
        drawn = model.animate(avatar, rest, camera, torch.ones(3, device=device))
    return _Seen(avatar, torch.cat([drawn.rgb, drawn.alpha], 1).float().clamp(0, 1))


def _compare(base: _Seen, moved: _Seen, network: nn.Module | None) -> list[dict[str, float]]:
    """Differences of each subject."""
    values = {"rms": _rms(base.drawn, moved.drawn)}
    if network is not None:
        before, after = (2 * seen.drawn[:, :3] - 1 for seen in (base, moved))
        values["lpips"] = network(before, after).flatten()
    first, second = base.avatar.canonical, moved.avatar.canonical
    if first.means.shape == second.means.shape:  # the same points of the surface
        values["offset"] = 1000 * (first.means - second.means).norm(dim=-1).mean(-1)
        values["color"] = (first.colors - second.colors).square().mean((-2, -1)).sqrt()
    columns = {name: value.tolist() for name, value in values.items()}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _rms(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference [B] of colours where either picture [B 4 S S] is covered."""
    mask = union_mask(first[:, 3:], second[:, 3:])[:, 0].float()  # [B S S]
    squared = (first[:, :3] - second[:, :3]).square().mean(1)
    return ((squared * mask).sum((-2, -1)) / mask.sum((-2, -1)).clamp_min(1)).sqrt()


def _between(people: list[_Seen]) -> float | None:
    """The `rms` between each person and the next, on average; None for a single person."""
    drawn = torch.cat([seen.drawn for seen in people])
    return float(_rms(drawn[:-1], drawn[1:]).mean()) if len(drawn) > 1 else None


def _summarise(
    moves: Mapping[str, list[dict[str, float]]], between: float | None, missing: str | None
) -> dict[str, Any]:
    means = {name: _mean(rows) for name, rows in moves.items()}
    kinds = {k: _mean([m for n, m in means.items() if n.startswith(k)]) for k in KINDS}
    framing = [row for name, rows in moves.items() if name != "pose" for row in rows]
    squared = sum(row["rms"] ** 2 for row in framing) / len(framing)
    psnr = -10 * math.log10(squared) if squared > 0 else None
    mean = dict(_mean(framing), psnr=psnr)
    return dict(moves=means, kinds=kinds, mean=mean, between=between, missing=missing)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
