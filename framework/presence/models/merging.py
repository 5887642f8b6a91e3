"""Several UV cells a token: fewer tokens for attention, and the way back."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn


def flatten_cells(maps: Tensor) -> Tensor:
    """Maps [B C U U] to rows [B U*U C]."""
    return maps.flatten(2).transpose(1, 2)


def unflatten_cells(tokens: Tensor) -> Tensor:
    """Rows [B U*U C] to maps [B C U U]."""
    side = math.isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).unflatten(-1, (side, side))


class _Merge(nn.Module):
    """Cells [B C U U] to tokens [B (U/m)^2 W]: m x m cells side by side, then a linear layer."""

    def __init__(self, cell: int, width: int, merge: int) -> None:
        super().__init__()
        self.merge = merge
        self.linear = nn.Linear(cell * merge**2, width)

    def forward(self, cells: Tensor) -> Tensor:
        """Cells [B C U U] to tokens [B (U/m)^2 W]."""
        return self.linear(flatten_cells(F.pixel_unshuffle(cells, self.merge)))


class _Unmerge(nn.Module):
    """Token maps [B W u u] to cells [B C u*m u*m], the inverse of `_Merge`."""

    def __init__(self, cell: int, width: int, merge: int) -> None:
        super().__init__()
        self.merge = merge
        self.linear = nn.Linear(width, cell * merge**2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token maps [B W u u] to cells [B C u*m u*m]."""
        return F.pixel_shuffle(unflatten_cells(self.linear(flatten_cells(tokens))), self.merge)


class _Flatten(nn.Module):
    """Cells that are tokens already: [B C U U] to [B U*U C]."""

    def forward(self, cells: Tensor) -> Tensor:
        """Cells [B C U U] to tokens [B U*U C]."""
        return flatten_cells(cells)


def mergers(cell: int, width: int, merge: int) -> tuple[nn.Module, nn.Module]:
    """Returns modules from cells [B C U U] to tokens [B (U/m)^2 W], and from token maps back.

    Args:
        cell: C, channels of a cell.
        width: W, channels of a token.
        merge: m, cells along a token's side; with 1 a token is a cell.

    Raises:
        ValueError: cells are tokens, but their widths differ.
    """
    if merge == 1:
        if cell != width:
            raise ValueError(f"cell_width={cell} must equal width={width} when merge is 1")
        return _Flatten(), nn.Identity()
    return _Merge(cell, width, merge), _Unmerge(cell, width, merge)
