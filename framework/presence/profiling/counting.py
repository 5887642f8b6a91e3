"""Floating-point operations and bytes that a stage cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from presence.structures import TensorStruct


def count_flops(function: Callable[[], Any]) -> float:
    """Counts the operations of matrix products, convolutions and attention in one call.

    A multiply-add is two operations. Elementwise work is not counted: it is paid for in bytes.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False, custom_mapping=_attention_on_cpu()) as counter:
        function()
    return float(counter.get_total_flops())


def _attention_on_cpu() -> dict[Any, Callable[..., int]]:
    """How to count the fused attention of CPUs, which torch's counter leaves out."""
    from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

    def forward(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_backward_flop_count(grad, q, k, v)

    fused = torch.ops.aten
    return {
        fused._scaled_dot_product_flash_attention_for_cpu: forward,
        fused._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }


def size_of(values: Iterable[Any]) -> float:
    """Returns the bytes of tensors, structs of tensors and modules' parameters and buffers.

    Example:
        >>> size_of([torch.zeros(2, 3), nn.Linear(3, 1)])
        40.0
    """
    total = 0
    for value in values:
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()
        elif isinstance(value, nn.Module):
            tensors = {id(t): t for t in [*value.parameters(), *value.buffers()]}
            total += sum(t.numel() * t.element_size() for t in tensors.values())
        elif isinstance(value, TensorStruct):
            found: list[Tensor] = []
            value.map(lambda t, found=found: found.append(t) or t)  # type: ignore[func-returns-value, misc]
            total += sum(t.numel() * t.element_size() for t in found)
    return float(total)


def transformer_flops(tokens: int, width: int, blocks: int, mlp_ratio: float) -> float:
    """Returns the operations of pre-norm transformer blocks on one sequence, in closed form.

    Projections take 8 T W^2, attention 4 T^2 W, the MLP 4 r T W^2.

    Example:
        >>> transformer_flops(4096, 1536, 40, 4.0) / 1e12
        13.40029796352
    """
    return blocks * ((8 + 4 * mlp_ratio) * tokens * width**2 + 4 * tokens**2 * width)


def memory_peak(device: torch.device) -> float | None:
    """Returns the most bytes that tensors took since the last reset; None on a CPU."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
