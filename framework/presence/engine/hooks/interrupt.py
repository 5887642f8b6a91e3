"""Ends a run cleanly when it is asked to stop: the state is saved, and can be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from mmengine.hooks import Hook

from presence.registry import HOOKS

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@HOOKS.register()
class InterruptHook(Hook):
    """Stops after the current iteration on Ctrl-C or SIGTERM; a second one stops at once.

    Only for single processes: several would stop at different iterations and wait for each
    other for ever; they lose at most one checkpoint interval.

    Attributes:
        received: the signal that came, None if none did.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def before_train(self, runner: Any) -> None:
        """Takes over the signals."""
        if runner.process.world > 1 or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._receive)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Asks the loop to stop if a signal came."""
        if self.received is not None:
            runner.train_loop.stop_training = True

    def after_train(self, runner: Any) -> None:
        """Gives the signals back."""
        self.restore()

    def restore(self) -> None:
        """Gives the signals back to who had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
