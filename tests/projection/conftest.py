"""A camera and a mask whose outline is known."""

import math

import pytest
import torch

from presence.structures import Camera


@pytest.fixture
def camera():
    """Looks at the origin from 2 m in front of it."""
    eye, target = torch.tensor([[0.0, 0.0, 2.0]]), torch.zeros(1, 3)
    return Camera.look_at(eye, target, math.radians(30), 64, 64)


@pytest.fixture
def half_mask():
    """The person fills the left half of the picture."""
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., :32] = 1.0
    return alpha
