"""Saves the state of a run at intervals and at its end, and forgets the oldest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from presence.engine.checkpoint import checkpoint_path, list_checkpoints
from presence.registry import HOOKS


@HOOKS.register()
class SaveHook(Hook):
    """Writes `iter_N.pth` into the work folder.

    Args:
        interval: iterations between checkpoints; one is also written when training ends.
        keep: newest checkpoints to keep, 0 for all.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int = 1000, keep: int = 3) -> None:
        self.interval, self.keep = interval, keep
        self._saved = -1

    def before_train(self, runner: Any) -> None:
        """Removes what a killed run left half-written."""
        if runner.process.is_main:
            for leftover in Path(runner.work_dir).glob(".iter_*.pth"):
                leftover.unlink(missing_ok=True)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Saves when the interval is full; the iteration that just ended counts as done."""
        if (batch_idx + 1) % self.interval == 0 and batch_idx + 1 < runner.max_iters:
            self._save(runner, batch_idx + 1)

    def after_train(self, runner: Any) -> None:
        """Saves the last state, after the last validation, whose metrics it carries."""
        self._save(runner, runner.iter)

    def _save(self, runner: Any, iteration: int) -> None:
        if iteration == self._saved or not runner.process.is_main:
            return
        runner.progress.check()
        path = checkpoint_path(runner.work_dir, iteration)
        runner.save_state(path, iteration)
        runner.logger.info(f"saved {path}")
        self._saved = iteration
        if self.keep:
            for old in list_checkpoints(runner.work_dir)[: -self.keep]:
                old.unlink(missing_ok=True)
