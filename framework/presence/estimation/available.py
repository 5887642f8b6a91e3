"""Which of the released estimators can be had: names, configs, and whether a file is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from presence.assets import find_asset
from presence.registry import ESTIMATORS

STANDARD: dict[str, dict[str, Any]] = {
    "osx": dict(type="OsxEstimator"),
    "multi_hmr": dict(type="MultiHmrEstimator"),
    "emica": dict(type="EmicaEstimator"),
    "flame": dict(type="FlameEstimator"),
    "hamer": dict(type="HamerEstimator"),
    "sapiens_pose": dict(type="SapiensPoseEstimator"),
}
"""The estimators of the paper's tracker, each with the file that configs/assets.yaml names."""
COMPARED: dict[str, dict[str, Any]] = {**STANDARD, "pixie": dict(type="PixieEstimator")}
"""The same and the one that the paper compares with."""


def missing_file(config: Mapping[str, Any]) -> str:
    """Returns why an estimator's official file cannot be had; empty where it is there.

    Where a config names another file, building the estimator says what is wrong with it.

    Example:
        >>> missing_file(dict(type="OsxEstimator", weights="random"))
        ''
    """
    kind = config["type"]
    cls = ESTIMATORS.lookup(kind) if isinstance(kind, str) else kind
    if config.get("weights", "official") != "official" or not cls.asset:
        return ""
    return "" if find_asset(cls.asset).find() else "its file is missing"
