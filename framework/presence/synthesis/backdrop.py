"""What is behind the person: soft gradients, blobs of light, and blurred boxes like rooms."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from presence.structures import TensorStruct, tensor
from presence.synthesis.draws import Draws
from presence.synthesis.fields import smoothstep, struct_of
from presence.synthesis.noise import NoiseVolume
from presence.synthesis.palette import saturated

BLOBS = 6
BOXES = 6


@dataclasses.dataclass(frozen=True, eq=False)
class BackdropLook(TensorStruct):
    """Backdrops of n pictures of each subject; positions count picture heights from the middle."""

    top: Tensor = tensor("n 3")
    bottom: Tensor = tensor("n 3")
    horizon: Tensor = tensor("n")
    blur: Tensor = tensor("n")
    cloud: Tensor = tensor("n")
    frequency: Tensor = tensor("n")
    offset: Tensor = tensor("n 3")
    blob: Tensor = tensor("n k 4")
    blob_color: Tensor = tensor("n k 3")
    box: Tensor = tensor("n m 5")
    box_color: Tensor = tensor("n m 3")


def draw_backdrops(draws: Draws, views: int) -> BackdropLook:
    """Draws a backdrop for each of `views` pictures of every subject."""
    rows = [_backdrop(draws.scoped(f"view{view}")) for view in range(views)]
    return struct_of(
        BackdropLook, **{name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
    )


def _backdrop(draws: Draws) -> dict[str, np.ndarray]:
    plain = draws.chance("plain", 0.35)
    first = saturated(draws, "first", (0.0, 0.4), (0.12, 0.98)) ** 2.2
    second = saturated(draws, "second", (0.0, 0.45), (0.08, 0.95)) ** 2.2
    related = draws.chance("related", 0.5)[:, None]
    second = np.where(related, first * draws.uniform("darker", 0.35, 1.2)[:, None], second)
    blobs = np.stack(
        [draws.uniform("bx", -0.8, 0.8, size=BLOBS), draws.uniform("by", -0.6, 0.6, size=BLOBS),
         draws.uniform("br", 0.02, 0.3, size=BLOBS),
         np.where(plain[:, None], 0.0, draws.uniform("ba", -0.3, 0.8, size=BLOBS))], -1,
    )  # fmt: skip
    boxes = np.stack(
        [draws.uniform("x", -0.9, 0.9, size=BOXES), draws.uniform("y", -0.6, 0.6, size=BOXES),
         draws.uniform("w", 0.03, 0.4, size=BOXES), draws.uniform("h", 0.05, 0.6, size=BOXES),
         np.where(plain[:, None], 0.0, draws.uniform("a", -0.8, 0.9, size=BOXES))], -1,
    )  # fmt: skip
    return dict(
        top=first,
        bottom=second,
        horizon=draws.uniform("horizon", -0.35, 0.35),
        blur=draws.mixture("blur", ((0.5, 0.15, 0.8), (0.5, 0.008, 0.06))),
        cloud=np.where(plain, 0.1, draws.uniform("cloud", 0.05, 0.5)),
        frequency=draws.uniform("frequency", 1.5, 9.0),
        offset=draws.uniform("offset", 0.0, 16.0, size=3),
        blob=blobs,
        blob_color=_muted(draws, "blob color", 0.05, 1.3, BLOBS),
        box=boxes,
        box_color=_muted(draws, "box color", 0.02, 0.7, BOXES),
    )


def _muted(draws: Draws, name: str, low: float, high: float, count: int) -> np.ndarray:
    """Returns colours [B count 3] that are mostly closer to grey than to a pure hue."""
    color = draws.uniform(name, low, high, size=3 * count).reshape(len(draws), count, 3)
    vivid = draws.uniform(f"{name} vividness") ** 2
    grey = color.mean(-1, keepdims=True)
    return grey + (color - grey) * (0.15 + 0.85 * vivid[:, None, None])


def paint_backdrops(look: BackdropLook, noise: NoiseVolume, height: int, width: int) -> Tensor:
    """Returns linear pictures [B n 3 H W] of the backdrops."""
    device = look.top.device
    rows = (torch.arange(height, device=device) + 0.5) / height - 0.5
    columns = (torch.arange(width, device=device) + 0.5) / height - 0.5 * width / height
    y, x = rows[:, None], columns[None, :]

    def wide(value: Tensor) -> Tensor:
        return value[..., None, None]  # [B n] to [B n 1 1]

    level = smoothstep(-wide(look.blur), wide(look.blur), y - wide(look.horizon))
    picture = _blend(look.top[..., None, None], look.bottom[..., None, None], level)
    soft = 0.4 * wide(look.blur).clamp(max=0.08)
    for k in range(look.box.shape[-2]):
        cx, cy, w, h, amount = (wide(look.box[..., k, j]) for j in range(5))
        inside = smoothstep(soft, -soft, (x - cx).abs() - w) * smoothstep(
            soft, -soft, (y - cy).abs() - h
        )
        picture = _blend(
            picture, look.box_color[..., k, :, None, None], inside * amount.clamp_min(0)
        )
    for k in range(look.blob.shape[-2]):
        cx, cy, r, amount = (wide(look.blob[..., k, j]) for j in range(4))
        near = smoothstep(r, 0.6 * r, ((x - cx).square() + (y - cy).square()).sqrt())
        picture = _blend(
            picture, look.blob_color[..., k, :, None, None], near * amount.clamp_min(0)
        )
    grid = torch.stack([x.expand(height, width), y.expand(height, width), 0 * (x + y)])
    points = grid * look.frequency[..., None, None, None] + look.offset[..., None, None]
    shade = noise(points.movedim(2, 0).reshape(3, -1), slice(3, 4))
    shade = shade.reshape(*look.horizon.shape, 1, height, width)
    return picture * torch.exp(look.cloud[..., None, None, None] * shade)


def _blend(a: Tensor, b: Tensor, amount: Tensor) -> Tensor:
    return a + (b - a) * amount[:, :, None]
