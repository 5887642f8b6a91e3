"""Keeps the moving average of the weights up to date."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from presence.registry import HOOKS


@HOOKS.register()
class AverageHook(Hook):
    """Updates the weight average after every optimiser step (not after every micro-batch)."""

    priority = "VERY_HIGH"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Takes the new weights into the average, if they changed."""
        if runner.optim_wrapper.should_update():
            runner.average.update()
