"""AdamW with bf16 autocast and clipping, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from presence.engine.settings import Optimizer, Schedule

# Rows of these are looked up or added, not multiplied: shrinking them towards zero only hurts.
_NO_DECAY = ("embedding", "position", "token")


class PrecisionOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper with autocast that also works on the CPU, and without host syncs.

    (`AmpOptimWrapper` asserts on the CPU, and the base class reads the gradient norm on the host
    at every step.)

    Args:
        optimizer: any torch optimiser.
        precision: "bf16" runs the forward pass under `torch.autocast`, "fp32" does not.
        device_type: where the model lives, "cpu" or "cuda".
        clip: largest gradient norm, None for no clipping.
        accumulate: micro-batches that make one optimiser step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Literal["bf16", "fp32"] = "bf16",
        device_type: str = "cpu",
        clip: float | None = 1.0,
        accumulate: int = 1,
    ) -> None:
        super().__init__(
            optimizer,
            accumulative_counts=accumulate,
            clip_grad=None if clip is None else dict(max_norm=clip),
        )
        self.precision, self.device_type = precision, device_type
        self.grad_norm: Tensor | None = None  # of the last step, before clipping

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Runs the forward pass in the chosen precision, without needless gradient exchange."""
        bf16 = self.precision == "bf16"
        with super().optim_context(model), autocast(self.device_type, enabled=bf16):
            yield

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"] if p.grad is not None]
        if parameters:
            self.grad_norm = nn.utils.clip_grad_norm_(parameters, **self.clip_grad_kwargs)


def autocast(device_type: str, *, enabled: bool) -> torch.autocast:
    """Returns the bf16 autocast context in which networks train and are validated."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=enabled)


def build_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.AdamW:
    """Builds AdamW with weight decay on matrices only, fused on CUDA.

    Each group remembers its highest rate as `peak_lr`, which `set_learning_rate` scales.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(word in name for word in _NO_DECAY)
        scale = next((s for p, s in settings.lr_scale.items() if name.startswith(p)), 1.0)
        groups.setdefault((settings.weight_decay * decays, scale), []).append(parameter)
    on_cuda = any(p.is_cuda for members in groups.values() for p in members)
    return torch.optim.AdamW(
        [
            dict(params=members, weight_decay=decay, lr=settings.lr * s, peak_lr=settings.lr * s)
            for (decay, s), members in groups.items()
        ],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        fused=on_cuda,
    )


def rate_factor(step: int, schedule: Schedule) -> float:
    """Returns the learning rate of iteration `step` (from 0) over the highest rate.

    A pure function of the step, so there is no scheduler state to lose in a resume.

    Example:
        >>> rate_factor(99, Schedule(iterations=1000, warmup=100))
        1.0
    """
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    span = max(schedule.iterations - schedule.warmup, 1)
    done = min((step - schedule.warmup + 1) / span, 1.0)
    fall = {
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "linear": 1 - done,
        "constant": 1.0,
    }[schedule.shape]
    return schedule.final_ratio + (1 - schedule.final_ratio) * fall


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, schedule: Schedule) -> float:
    """Sets every group's rate for iteration `step` and returns the first group's."""
    factor = rate_factor(step, schedule)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])
