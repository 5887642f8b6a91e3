"""Puts pictures of the same few subjects into TensorBoard, to watch a run with one's eyes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from presence.registry import HOOKS


@HOOKS.register()
class PicturesHook(Hook):
    """Draws portrait, mesh overlay, reconstruction, true and rendered novel view at intervals.

    Args:
        interval: iterations between grids, 0 for none.
        subjects: rows of a grid: the first validation samples.
    """

    priority = "LOWEST"

    def __init__(self, interval: int = 1000, subjects: int = 4) -> None:
        self.interval, self.subjects = interval, subjects

    def before_train(self, runner: Any) -> None:
        """Draws the start."""
        if self.interval and runner.iter == 0:
            self._draw(runner, 0)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draws when the interval is full, and at the end."""
        done = batch_idx + 1
        if self.interval and (done % self.interval == 0 or done == runner.max_iters):
            self._draw(runner, done)

    def _draw(self, runner: Any, iteration: int) -> None:
        source = runner.val_loop.source
        if not runner.process.is_main or source is None or len(source) == 0:
            return
        from presence.engine.data import fixed_batches
        from presence.engine.optim import autocast
        from presence.evaluation.pictures import side_by_side, to_bytes

        model, device = runner.bare_model, runner.process.device
        indices = range(min(self.subjects, len(source)))
        sample = next(fixed_batches(source, indices, len(indices), device))
        model.eval()
        bf16 = runner.settings.precision == "bf16"
        with runner.average.applied(), autocast(device.type, enabled=bf16):
            prediction = model.predict(sample)
        model.train()
        grid = side_by_side(sample, prediction, getattr(model, "body", None))
        runner.visualizer.add_image("subjects", to_bytes(grid), step=iteration)
