"""Small plots as SVG text: points, lines and a legend; no package draws them.

Colours are CSS variables of the page (`--series-N`, `--line`, `--text`), so that plots follow its
light and dark themes.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

SERIES = 10  # colours that the page defines
_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 44
_LETTER, _ROW = 6.2, 17  # px: width of a letter, height of a row of the legend


@dataclasses.dataclass(frozen=True)
class Series:
    """Points of one method.

    Attributes:
        name: in the legend, and beside the last point where there is room.
        points: (x, y); joined by a line if there are several.
        color: number of the colour.
    """

    name: str
    points: Sequence[tuple[float, float]]
    color: int = 0


def plot(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, log_x: bool = False
) -> str:
    """Draws series into one SVG element; an empty string where there is nothing to draw.

    Args:
        series: with finite points; on a logarithmic axis those at 0 or below are left out.
        title: heading.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        log_x: whether the horizontal axis is logarithmic.

    Example:
        >>> plot([Series("a", [(1, 2)])], title="t", x_label="x", y_label="y").startswith("<svg")
        True
    """
    kept = [dataclasses.replace(s, points=_drawable(s.points, log_x)) for s in series]
    kept = [s for s in kept if s.points]
    if not kept:
        return ""
    xs = [x for s in kept for x, _ in s.points]
    ys = [y for s in kept for _, y in s.points]
    across = _Axis.over(xs, _LEFT, _WIDTH - _RIGHT, log=log_x, room=0.14)
    up = _Axis.over(ys, _HEIGHT - _BOTTOM, _TOP, room=0.08)
    parts = [*_frame(across, up, title, x_label, y_label)]
    pixels = [[(across.at(x), up.at(y)) for x, y in one.points] for one in kept]
    covered = [[*(_around(x, y) for x, y in line), *_along(line)] for line in pixels]
    taken = [box for boxes in covered for box in boxes]
    for one in kept:
        parts += _draw(one, across, up)
    for number, one in enumerate(kept):  # names last, over the lines
        others = [box for n, boxes in enumerate(covered) if n != number for box in boxes]
        parts += _name(one, *pixels[number][-1], taken, others)
    key, height = _legend(kept) if len(kept) > 1 else ("", 0)
    body = "".join(parts) + key
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + height}" role="img" '
        f'aria-label="{html.escape(title)}">{body}</svg>'
    )


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def over(
        cls, values: Sequence[float], start: float, end: float, *, log: bool = False, room: float
    ) -> _Axis:
        """An axis with some room around the values."""
        scaled = [math.log10(v) for v in values] if log else list(values)
        low, high = min(scaled), max(scaled)
        margin = room * (high - low) or max(abs(high) * 0.1, 0.1)
        return cls(low - margin, high + margin, start, end, log)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        scaled = math.log10(value) if self.log else value
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the axis."""
        if self.log:
            low, high = 10**self.low, 10**self.high
            exponents = range(math.floor(self.low), math.ceil(self.high) + 1)
            steps = (1, 2, 5) if self.high - self.low < 2 else (1,)
            round_ones = [s * 10.0**e for e in exponents for s in steps]
            found = [value for value in round_ones if low <= value <= high]
            return found if len(found) > 2 else _even(low, high)
        return _even(self.low, self.high)


def _even(low: float, high: float) -> list[float]:
    """About four round values at equal steps."""
    step = _round_step((high - low) / 4)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= rough * 0.999)


def _drawable(points: Sequence[tuple[float, float]], log_x: bool) -> list[tuple[float, float]]:
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return sorted((x, y) for x, y in finite if x > 0 or not log_x)


def _frame(across: _Axis, up: _Axis, title: str, x_label: str, y_label: str) -> list[str]:
    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [_text(title, _LEFT, 18, "plot-title", "start")]
    for value in up.ticks():
        y = up.at(value)
        parts.append(_line(_LEFT, y, right, y, "grid"))
        parts.append(_text(f"{value:.4g}", _LEFT - 6, y + 4, "tick", "end"))
    for value in across.ticks():
        x = across.at(value)
        parts.append(_line(x, base, x, base + 4, "axis"))
        parts.append(_text(_short(value), x, base + 17, "tick"))
    parts.append(_line(_LEFT, base, right, base, "axis"))
    parts.append(_text(x_label, (_LEFT + right) / 2, _HEIGHT - 8, "label"))
    turn = f' transform="translate(13 {(_TOP + base) / 2}) rotate(-90)"'
    parts.append(_text(y_label, 0, 0, "label", "middle", turn))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(text: str, x: float, y: float, kind: str, anchor: str = "middle", more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}{more}>{html.escape(text)}</text>'


def _draw(one: Series, across: _Axis, up: _Axis) -> list[str]:
    color = _color(one)
    pixels = [(across.at(x), up.at(y)) for x, y in one.points]
    parts = []
    if len(pixels) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for (x, y), values in zip(pixels, one.points):
        tip = f"<title>{html.escape(one.name)}: {values[0]:.4g}, {values[1]:.4g}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}">{tip}</circle>')
    return parts


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _around(x: float, y: float) -> _Box:
    """What a point covers."""
    return x - 5, y - 5, x + 5, y + 5


def _along(line: Sequence[tuple[float, float]]) -> list[_Box]:
    """What the lines between points cover, in small pieces."""
    boxes = []
    for (x1, y1), (x2, y2) in zip(line, line[1:]):
        pieces = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / 4))
        for step in range(pieces):
            x, y = (a + (b - a) * (step + 0.5) / pieces for a, b in ((x1, x2), (y1, y2)))
            boxes.append((x - 2, y - 2, x + 2, y + 2))
    return boxes


def _name(one: Series, x: float, y: float, taken: list[_Box], others: list[_Box]) -> list[str]:
    """A series' name beside its last point; nothing where the name could be taken for another's.

    Args:
        one: the series.
        x: of its last point.
        y: of its last point.
        taken: what the name must not cover; it is added.
        others: what other series cover, from which it must be farther than from its own point.
    """
    width = _LETTER * len(one.name)
    sides = [
        (left, y + 4 + shift, anchor)
        for shift in (0, -9, 9)
        for left, anchor in ((x + 8, "start"), (x - 8 - width, "end"))
    ]
    above = [(x - width / 2, row, "middle") for row in (y - 9, y + 17)]
    for left, row, anchor in sides + above:
        box = (left, row - 9, left + width, row + 2)
        inside = box[0] > _LEFT and box[2] < _WIDTH and _TOP < box[1] and box[3] < _HEIGHT - _BOTTOM
        free = inside and not any(_overlap(box, other) for other in taken)
        if free and all(_gap(box, other) > _gap(box, _around(x, y)) for other in others):
            taken.append(box)
            at = {"start": left, "middle": x, "end": left + width}[anchor]
            return [_text(one.name, at, row, "name", anchor, f' style="fill:{_color(one)}"')]
    return []


def _legend(series: Sequence[Series]) -> tuple[str, int]:
    """The colour of every name, in rows under the plot; and the height that they take."""
    parts, left, row = [], float(_LEFT), 0
    for one in series:
        width = 14 + _LETTER * len(one.name) + 12
        if left > _LEFT and left + width > _WIDTH:
            left, row = float(_LEFT), row + 1
        y = _HEIGHT + 8 + _ROW * row
        parts.append(f'<circle cx="{left + 4:.1f}" cy="{y}" r="4" fill="{_color(one)}"/>')
        parts.append(_text(one.name, left + 14, y + 4, "key", "start"))
        left += width
    return f'<g class="legend">{"".join(parts)}</g>', _ROW * (row + 1) + 4


def _color(one: Series) -> str:
    return f"var(--series-{one.color % SERIES})"


def _gap(one: _Box, other: _Box) -> float:
    """Distance between two boxes, px."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    return math.hypot(across, max(one[1] - other[3], other[1] - one[3], 0.0))


def _overlap(one: _Box, other: _Box) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
