"""The paper's own figures (Tables 1 and 2), shown beside ours.

They were measured on real clips, portraits and generated videos with each method's full-size
network and data; ours are on held-out procedural people with small networks. They say which way a
comparison came out there, and cannot be subtracted from ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from presence.errors import check_known

Figures = tuple[float, float, float]
"""PSNR (dB), SSIM, LPIPS."""

# Table 1 by column, then by method. The last is LAM a second time, "non-facial parts parsed
# out"; beside it stand our metrics with parts=("head",).
TABLE_1: dict[str, dict[str, Figures]] = {
    "Upper-Wild": {
        "Ours": (21.09, 0.8510, 0.1426),
        "GUAVA": (20.59, 0.7864, 0.1957),
        "LHM-HF": (13.95, 0.7835, 0.3335),
        "IDOL": (12.93, 0.7617, 0.3465),
    },
    "Upper-Wan": {
        "Ours": (20.38, 0.7867, 0.1635),
        "GUAVA": (20.24, 0.7215, 0.1940),
        "LHM-HF": (12.04, 0.6664, 0.3626),
        "IDOL": (10.35, 0.5802, 0.5132),
    },
    "Full-Body": {
        "Ours": (24.53, 0.8642, 0.0916),
        "IDOL": (18.51, 0.8753, 0.1256),
        "LHM": (21.53, 0.9151, 0.0725),
    },
    "Head": {
        "Ours": (19.04, 0.8526, 0.1613),
        "LAM": (14.81, 0.6789, 0.2613),
    },
    "Head, face alone": {
        "LAM": (17.19, 0.7526, 0.2207),
    },
}

# Table 2; its full model is Table 1's on generated videos ("Upper-Wan").
TABLE_2: dict[str, Figures] = {
    "full": (20.38, 0.7867, 0.1635),
    "2 blocks": (20.31, 0.7846, 0.1812),
    "4 blocks": (20.36, 0.7862, 0.1789),
    "33% of the data": (20.33, 0.7855, 0.1801),
    "3% of the data": (20.25, 0.7827, 0.1888),
    "syn": (19.57, 0.7579, 0.2418),
    "gen": (20.38, 0.7861, 0.1732),
    "gen*": (20.34, 0.7851, 0.1794),
    "no shell": (20.35, 0.7845, 0.1801),
}

# Which of the paper's columns are nearest to a set of this name; `read_columns` adds others.
COLUMNS: dict[str, tuple[str, ...]] = {
    "head": ("Head", "Head, face alone"),
    "half": ("Upper-Wild", "Upper-Wan"),
    "full": ("Full-Body",),
}


def read_columns(columns: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """Returns set to columns of `TABLE_1`: `COLUMNS`, and what a config says instead or besides.

    Args:
        columns: set to names of columns; none for a set that has no counterpart in the paper.

    Raises:
        ConfigError: the paper has no such column.

    Example:
        >>> read_columns(dict(wan=["Upper-Wan"], half=[]))["wan"]
        ('Upper-Wan',)
    """
    chosen = dict(COLUMNS)
    for name, given in (columns or {}).items():
        chosen[name] = (given,) if isinstance(given, str) else tuple(given)
        for column in chosen[name]:
            check_known("column of the paper", column, TABLE_1)
    return chosen


def paper_figures(
    method: str | None, name: str, columns: Mapping[str, Sequence[str]] = COLUMNS
) -> dict[str, Figures]:
    """Returns column to what the paper has for a method, for the columns of one set.

    Args:
        method: a name of `TABLE_1` or `TABLE_2`, None for methods that are not in the paper.
        name: of the set, such as "head", "half" or "full"; nothing for sets without a column.
        columns: set to columns; see `read_columns`.

    Example:
        >>> paper_figures("LHM", "full")
        {'Full-Body': (21.53, 0.9151, 0.0725)}
        >>> paper_figures("no shell", "half")
        {'Upper-Wan': (20.35, 0.7845, 0.1801)}
    """
    found = {}
    for column in columns.get(name, ()):
        figures = TABLE_1[column].get(method or "")
        if figures is None and column == "Upper-Wan":
            figures = TABLE_2.get(method or "")
        if figures is not None:
            found[column] = figures
    return found
