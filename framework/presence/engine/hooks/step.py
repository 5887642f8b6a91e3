"""Tells the model's parts how far training has come."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from presence.registry import HOOKS


@HOOKS.register()
class StepHook(Hook):
    """Calls `at_step(iteration)` of every module that has it, for schedules inside a model.

    A module that is never told (inference) should behave as at the end of its schedule.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Tells the iteration that is about to run."""
        for module in runner.model.modules():
            if hasattr(module, "at_step"):
                module.at_step(batch_idx)
