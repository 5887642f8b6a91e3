"""Texel geometry of an atlas whose charts are rectangles on a 64 x 64 grid."""

from __future__ import annotations

import torch
from torch import Tensor

GRID = 64
"""Cells a side: at 512 x 512 texels, one cell is one 8 x 8 token."""


def mirror_texels(chart_cells: Tensor | None, chart_mirrors: Tensor | None, size: int) -> Tensor:
    """Returns the row and column [size size 2] of every texel's mirror image.

    Args:
        chart_cells: [C 4] column, row (from the top), width and height of each chart.
        chart_mirrors: [C] the chart that holds each one's mirror image.
        size: texels a side, a multiple of 64.

    Raises:
        ValueError: there is no chart table, or `size` does not fit.

    Example:
        >>> cells = torch.tensor([[0, 0, 64, 64]])
        >>> mirror_texels(cells, torch.tensor([0]), 64)[3, 0].tolist()
        [3, 63]
    """
    if chart_cells is None or chart_mirrors is None:
        raise ValueError("this body has no chart table, so its texels have no known mirror image")
    if size % GRID:
        raise ValueError(f"texels a side should be a multiple of {GRID}, got {size}")
    cell = size // GRID
    rows, columns = torch.meshgrid(
        torch.arange(size), torch.arange(size), indexing="ij"
    )  # texels outside every chart map to themselves
    out = torch.stack([rows, columns], -1).to(chart_cells.device)
    table = (chart_cells * cell).tolist()
    for (column, row, width, height), other in zip(table, chart_mirrors.tolist(), strict=True):
        to_column, to_row = table[other][:2]
        across = torch.arange(to_column + width - 1, to_column - 1, -1, device=out.device)
        down = torch.arange(to_row, to_row + height, device=out.device)
        block = torch.stack(torch.meshgrid(down, across, indexing="ij"), -1)
        out[row : row + height, column : column + width] = block
    return out
