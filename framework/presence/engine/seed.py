"""The one seed function: every random number of a run follows from (seed, step, rank)."""

from __future__ import annotations

import random

import numpy as np
import torch

_MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """Hashes integers to 63 bits that look independent (splitmix64, Steele et al. 2014).

    Example:
        >>> mix(1, 2) == mix(1, 2), mix(1, 2) == mix(2, 1)
        (True, False)
    """
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ (value & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def seed_everything(seed: int, rank: int = 0, step: int | None = None) -> int:
    """Seeds Python, numpy and torch (every device) for one process, or for one training step.

    The trainer calls it before every step, so a resumed run draws what the uninterrupted one
    would have drawn, whatever validation or pictures used up in between.

    Args:
        seed: the run's seed.
        rank: process number; different ranks draw differently.
        step: training iteration, None for the start of a run.

    Returns:
        The 63-bit seed that was set.
    """
    mixed = mix(seed, rank, -1 if step is None else step)
    random.seed(mixed)
    np.random.seed(mixed & 0xFFFFFFFF)
    torch.manual_seed(mixed)  # seeds CUDA devices too, lazily when there is no context yet
    return mixed
