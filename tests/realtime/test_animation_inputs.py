"""A session's inputs, which every frame overwrites, share no memory with what it was given."""

import pytest
import torch

from presence.realtime.animation import copied


@pytest.mark.parametrize(
    ("given", "shape"),
    [((3, 3), (1, 3, 3)), ((1, 3, 3), (1, 3, 3)), ((3, 3), (4, 3, 3)), ((3,), (2, 3))],
)
def test_inputs_are_copies(given, shape):
    value = torch.arange(torch.tensor(given).prod().item()).reshape(given).float()
    before = value.clone()
    inputs = copied(value, *shape)
    assert inputs.shape == shape and inputs.is_contiguous()
    assert torch.equal(inputs, before.expand(shape))
    inputs[0] += 1.0
    assert torch.equal(value, before)
    assert torch.equal(inputs[1:], before.expand(shape)[1:])
