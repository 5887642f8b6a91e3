"""Recording a function into a CUDA graph, with the reason where that is impossible."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

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


@contextlib.contextmanager
def kept_constants() -> Iterator[None]:
    """Makes `tensor.new_tensor(numbers)` return a tensor kept on the device from an earlier call.

    A list of numbers is copied to the GPU from ordinary memory, for which the host waits; that
    cannot be recorded. Calls before recording fill the store, recording then finds it there.
    """
    original = torch.Tensor.new_tensor

    def kept(self: Tensor, data: Any, **options: Any) -> Tensor:
        if not self.is_cuda or isinstance(data, Tensor) or options:
            return original(self, data, **options)
        key = (repr(data), self.dtype, self.device)
        if key not in _constants:
            _constants[key] = original(self, data)
        return _constants[key].clone()

    torch.Tensor.new_tensor = kept  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.Tensor.new_tensor = original  # type: ignore[assignment, method-assign]


_constants: dict[Any, Tensor] = {}
