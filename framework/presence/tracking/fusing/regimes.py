"""`RegimeMap`: where each estimator can be relied on, as measured, read from a file."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from presence.errors import AssetError, did_you_mean

FORMAT = 1
Framing = Literal["head", "half", "full"]
Group = Literal["body", "head", "face", "hand"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
GROUPS: tuple[Group, ...] = get_args(Group)
FEATURES = ("arms", "lower", "hand")
"""What the thresholds are for: an arm seen (half body), legs seen (full body), a hand seen."""

_BROKEN = (KeyError, TypeError, ValueError, AttributeError)  # of plain values in other shapes


@dataclasses.dataclass(frozen=True)
class Rule:
    """One estimator's place in the order for a framing and a group of parts.

    Attributes:
        estimator: its name.
        basis: whether this project's benchmark measured it, or the paper states it.
        why: the figure or the statement, for people.
        error: median error where it was measured, in `unit`.
        unit: "mm" or "deg".
        max_yaw: degrees that the person may be turned; beyond, others come first.
    """

    estimator: str
    basis: Literal["measured", "stated"]
    why: str
    error: float | None = None
    unit: str = ""
    max_yaw: float = 180.0

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.basis}: {self.why}"
        return f"{self.basis}: {self.error:.3g} {self.unit}, {self.why}"


@dataclasses.dataclass(frozen=True)
class RegimeMap:
    """Thresholds and orders that the visibility gate follows.

    Attributes:
        seen: of `FEATURES`, the confidence from which something counts as seen.
        order: framing to group to rules, the best first.
        agree: % of the person's height that a result's landmarks may lie from the detected ones
            in the mean; beyond, it is somebody else's pose.
        cells: the measurements behind it, one a row, as the benchmark wrote them.
        provenance: command, people, versions.
    """

    seen: Mapping[str, float]
    order: Mapping[Framing, Mapping[Group, tuple[Rule, ...]]]
    agree: float
    cells: tuple[Mapping[str, Any], ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that nothing that the gate asks for is missing.

        Raises:
            ValueError: a threshold, a framing or a group is missing or unknown.
        """
        _same("seen", self.seen, FEATURES)
        _same("order", self.order, FRAMINGS)
        for framing, groups in self.order.items():
            _same(f"order.{framing}", groups, GROUPS)

    @classmethod
    def load(cls, path: str | Path | None = None) -> RegimeMap:
        """Reads a map (`.json`, `.yaml`); None takes the one that ships with the project.

        Raises:
            AssetError: missing, or not such a map; one line.

        Example:
            >>> RegimeMap.load().order["full"]["body"][0].estimator
            'multi_hmr'
        """
        if path is None:
            path = Path(str(importlib.resources.files("presence.data") / "regimes.json"))
        path = Path(path)
        if not path.is_file():
            raise AssetError(
                f"regime map {path} does not exist: "
                "tools/benchmark.py configs/benchmarks/trackers.py writes one"
            )
        try:
            return cls.from_plain(yaml.safe_load(path.read_text()))
        except (yaml.YAMLError, UnicodeDecodeError, *_BROKEN) as error:
            raise AssetError(
                f"{path} is not a regime map: {' '.join(str(error).split())}"
            ) from error

    @classmethod
    def from_plain(cls, plain: Any) -> RegimeMap:
        """Builds a map from what `to_plain` gives.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise ValueError(f"`format` should be {FORMAT}")
        order = {
            framing: {
                group: tuple(Rule(**rule) for rule in rules) for group, rules in groups.items()
            }
            for framing, groups in plain["order"].items()
        }
        seen = {name: float(value) for name, value in plain["seen"].items()}
        cells, provenance = tuple(plain.get("cells", ())), plain.get("provenance", {})
        return cls(seen, order, float(plain["agree"]), cells, provenance)

    def to_plain(self) -> dict[str, Any]:
        """Returns the map as plain values for a file."""
        return {
            "format": FORMAT,
            "provenance": dict(self.provenance),
            "seen": dict(self.seen),
            "agree": self.agree,
            "order": {
                framing: {
                    group: [
                        {k: v for k, v in dataclasses.asdict(rule).items() if v not in (None, "")}
                        for rule in rules
                    ]
                    for group, rules in groups.items()
                }
                for framing, groups in self.order.items()
            },
            "cells": [dict(cell) for cell in self.cells],
        }

    def to_json(self) -> str:
        """Writes the map with one measurement a line, so that differences can be read."""
        plain = self.to_plain()
        cells = ",\n".join("    " + json.dumps(cell) for cell in plain.pop("cells"))
        head = json.dumps(plain, indent=2)[: -len("\n}")]
        return f'{head},\n  "cells": [\n{cells}\n  ]\n}}\n'


def _same(where: str, found: Mapping[Any, Any], wanted: tuple[str, ...]) -> None:
    for name in wanted:
        if name not in found:
            raise ValueError(f"`{where}` lacks `{name}`")
    for name in found:
        if name not in wanted:
            raise ValueError(f"`{where}` has an unknown `{name}`.{did_you_mean(name, wanted)}")
