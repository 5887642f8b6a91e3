"""Recording a function into a CUDA graph, with the reason where that is impossible."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

_log = logging.getLogger(__name__)


class Recorded:
    """A function without arguments whose GPU work is replayed as one CUDA graph.

    Its tensors keep their places: write inputs into them before a call, read outputs after it and
    before the next one. Where recording fails, the function is called each time instead.

    Args:
        function: does the same GPU work at every call, on the current stream.
        graph: False calls it each time.
        warmups: calls before recording, in which kernels are compiled and memory is reserved.

    Attributes:
        problem: why there is no graph; None if there is one.
    """

    def __init__(
        self, function: Callable[[], Any], *, graph: bool = True, warmups: int = 3
    ) -> None:
        self.function = function
        self.problem: str | None = None if graph else "not asked for"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Any = None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warmups):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        if graph:
            self._record()

    def _record(self) -> None:
        recorded = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(recorded):
                self._output = self.function()
            self._graph = recorded
        except Exception as error:  # whatever a library does that cannot be recorded
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.problem = f"{type(error).__name__}: {reason}"
            _log.warning("no CUDA graph, kernels are launched one by one (%s)", self.problem)
            torch.cuda.synchronize()

    def __call__(self) -> Any:
        """Does the work; the outputs are overwritten by the next call."""
        if self._graph is None:
            return self.function()
        self._graph.replay()
        return self._output
