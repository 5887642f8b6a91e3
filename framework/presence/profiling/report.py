"""A stage's numbers, and the table that a person reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from presence.profiling.rates import Rates
from presence.profiling.timing import Timing


@dataclasses.dataclass(frozen=True)
class Stage:
    """One measured stage.

    Attributes:
        part: what it belongs to, such as "reconstruct".
        name: the stage.
        timing: how long it took.
        flops: operations that it cannot do without; 0 where traffic decides.
        bytes: bytes that it must move at least: every input read and every output written once.
        facts: further numbers, such as frames a second.
    """

    part: str
    name: str
    timing: Timing
    flops: float = 0.0
    bytes: float = 0.0
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def row(self, rates: Rates) -> dict[str, Any]:
        """Returns plain numbers, with the floor and the time over it."""
        floor = rates.floor(self.flops, self.bytes)
        return dict(
            part=self.part,
            stage=self.name,
            ms=1e3 * self.timing.seconds,
            ms_low=1e3 * self.timing.low,
            ms_high=1e3 * self.timing.high,
            repeats=self.timing.repeats,
            gflop=self.flops / 1e9,
            megabytes=self.bytes / 1e6,
            floor_ms=1e3 * floor,
            over_floor=self.timing.seconds / floor if floor else None,
            share_of_peak=self.flops / self.timing.seconds / rates.flops,
            **self.facts,
        )


HEADER = f"{'stage':40s} {'ms':>9s} {'floor':>9s} {'x floor':>8s} {'peak':>6s}  notes"


def line(row: dict[str, Any]) -> str:
    """Returns one line of the table."""
    if "problem" in row:
        return f"{row['part'] + ': ' + row['stage']:40s} {row['problem']}"
    over = f"{row['over_floor']:8.2f}" if row["over_floor"] else f"{'-':>8s}"
    known = (
        "part stage ms ms_low ms_high repeats gflop megabytes floor_ms over_floor share_of_peak"
    ).split()
    notes = ", ".join(f"{k} {_short(v)}" for k, v in row.items() if k not in known)
    share = f"{row['share_of_peak']:6.1%}" if row["gflop"] else f"{'-':>6s}"
    name = f"{row['part']}: {row['stage']}"
    return f"{name:40s} {row['ms']:9.3f} {row['floor_ms']:9.3f} {over} {share}  {notes}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the whole table."""
    return "\n".join([HEADER, *map(line, rows)])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
