"""Training: mmengine's Runner with our data, precision, checkpoints and validation."""

from __future__ import annotations

from typing import Any


def train(config: Any, **options: Any) -> Any:
    """Trains the model of a config; see `presence.engine.trainer.train` for the arguments."""
    from presence.engine.trainer import train as run

    return run(config, **options)


__all__ = ["train"]
