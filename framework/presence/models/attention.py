"""Which of torch's attention kernels runs: by name, or the fastest by measurement."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from presence.models.layers import SelfAttention

AttentionChoice = Literal["torch", "auto", "flash", "cudnn", "efficient"]

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
_TIMED = 10  # calls
_MEASURED = ("flash", "cudnn")  # the memory-efficient one is never the fastest on tensor cores


@contextlib.contextmanager
def attention_kernels(first: str) -> Iterator[None]:
    """Prefers one kernel within a block; what it cannot take falls to the others.

    Args:
        first: "flash", "cudnn" or "efficient"; "torch" leaves torch's own order.

    Example:
        >>> with attention_kernels("cudnn"):
        ...     _ = F.scaled_dot_product_attention(*torch.zeros(3, 1, 2, 4, 8))
    """
    if first == "torch":
        yield
        return
    others = [backend for name, backend in BACKENDS.items() if name != first]
    order = [BACKENDS[first], *others, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        yield


def resolve_attention(
    choice: AttentionChoice,
    model: nn.Module,
    device: torch.device,
    *,
    batch: int = 1,
    tokens: int = 4097,
    backward: bool = False,
    notes: list[str] | None = None,
) -> str:
    """Returns the kernel to prefer; "auto" measures where there is something to choose.

    Args:
        choice: "auto" or a name for `attention_kernels`.
        model: its first attention, or its first trained one, gives heads and width.
        device: where it runs; only CUDA has several kernels.
        batch: sequences at once.
        tokens: length of a sequence.
        backward: whether it is trained.
        notes: receives what was measured.
    """
    if choice != "auto":
        return choice
    shape = _shape(model, trained=backward)
    if device.type != "cuda" or shape is None:
        return "torch"
    heads, width = shape
    qkv = torch.randn(batch, tokens, 3, heads, width, device=device, dtype=torch.bfloat16)
    seconds: dict[str, float] = {}
    for name in _MEASURED:
        try:
            with sdpa_kernel(BACKENDS[name]):
                seconds[name] = _time(qkv.requires_grad_(backward))
            note = f"{1e3 * seconds[name]:.3f} ms"
        except RuntimeError as error:
            note = f"not available ({(str(error).splitlines() or [''])[0]})"
        if notes is not None:
            notes.append(f"attention {name}: {note}")
    return min(seconds, key=seconds.__getitem__) if seconds else "torch"


def _shape(model: nn.Module, *, trained: bool) -> tuple[int, int] | None:
    """Heads and channels a head of the first attention that is wanted."""
    for layer in model.modules():
        if isinstance(layer, SelfAttention):
            learns = any(p.requires_grad for p in layer.parameters())
            if learns or not trained:
                return layer.heads, layer.qkv.in_features // layer.heads
    return None


def _time(qkv: Tensor) -> float:
    """Seconds of a call on queries, keys and values cut from one product [B T 3 H W]."""

    def once() -> None:
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        if qkv.requires_grad:
            torch.autograd.grad(mixed.sum(), qkv)

    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.set_grad_enabled(qkv.requires_grad):
        for _ in range(3):
            once()
        start.record()
        for _ in range(_TIMED):
            once()
        stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / 1e3 / _TIMED
