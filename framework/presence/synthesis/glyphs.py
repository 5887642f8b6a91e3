"""Marks that look like lettering: a strip of invented glyphs made of strokes on a grid."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.synthesis.draws import hash_uniform

_POSTS = np.array([(c, r) for r in range(3) for c in range(2)], dtype=np.float64)
# Strokes between the six posts of a letter, two columns by three rows.
_STROKES = ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5), (0, 3), (1, 2), (2, 5), (3, 4))


class Glyphs(nn.Module):
    """A table of `count` invented glyphs, sampled like an endless line of text.

    Args:
        count: glyphs in the table.
        texels: texels along a glyph's height.
    """

    table: Tensor

    def __init__(self, count: int = 48, texels: int = 24) -> None:
        super().__init__()
        self.count = count
        y, x = np.meshgrid(*[(np.arange(texels) + 0.5) / texels] * 2, indexing="ij")
        rows = [_glyph(k, x, y) for k in range(count)]
        strip = np.concatenate(rows, 1).astype(np.float32)[None, None]
        self.register_buffer("table", torch.from_numpy(strip), persistent=False)

    def forward(self, u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
        """Returns ink [P] in 0..1 at text coordinates: u letters along, v lines down.

        Args:
            u: [P] letters; the integer part chooses the glyph.
            v: [P] lines.
            seed: [P] integer-valued, chooses the text.
        """
        column, row = torch.floor(u), torch.floor(v)
        # Integers of moderate size are exact in float32 on every device.
        key = torch.remainder(column * 37.0 + row * 101.0 + seed * 13.0, 997.0)
        key = torch.remainder(key * key + 17.0 * key + seed, 997.0)
        glyph = torch.remainder(key, float(self.count))
        blank = torch.remainder(key, 7.0) < 1.0  # spaces between words
        inside_u, inside_v = u - column, v - row
        grid_x = 2.0 * (glyph + inside_u.clamp(0.02, 0.98)) / self.count - 1.0
        grid = torch.stack([grid_x, 2.0 * inside_v - 1.0], -1)[None, None]
        ink = F.grid_sample(self.table, grid, align_corners=False, padding_mode="border")
        return torch.where(blank, 0.0, ink.reshape(-1))


def _glyph(number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    random = hash_uniform(np.arange(24, dtype=np.uint64) + np.uint64(1000 * (number + 1)))
    used = np.flatnonzero(random[: len(_STROKES)] < 0.45)
    used = used if len(used) >= 2 else np.array([1, 3, 5])
    posts = _POSTS * np.array([0.5, 0.34]) + np.array([0.25, 0.16])
    nearest = np.full(x.shape, np.inf)
    for k in used:
        a, b = posts[_STROKES[k][0]], posts[_STROKES[k][1]]
        along = ((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / ((b - a) ** 2).sum()
        along = np.clip(along, 0.0, 1.0)
        gap = np.hypot(x - a[0] - along * (b - a)[0], (y - a[1] - along * (b - a)[1]))
        nearest = np.minimum(nearest, gap)
    width = 0.06 + 0.05 * random[20]
    return np.clip((width - nearest) / 0.05 + 0.5, 0.0, 1.0)
