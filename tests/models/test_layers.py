"""Layers that are computed in another way than they are written."""

import pytest
import torch
from torch import nn

from presence.models.layers import joined_linear


@pytest.mark.parametrize("widths", [(3, 1, 5), (16, 1), (4, 4)])
def test_pieces_are_multiplied_as_if_joined(widths):
    torch.manual_seed(0)
    layer = nn.Linear(sum(widths), 6).double()
    pieces = [torch.randn(2, 7, w, dtype=torch.double, requires_grad=True) for w in widths]
    wanted = torch.cat(pieces, -1) @ layer.weight.T + layer.bias
    found = joined_linear(layer, *pieces)
    torch.testing.assert_close(found, wanted)
    upstream, leaves = torch.randn_like(wanted), [*pieces, *layer.parameters()]
    grads = [torch.autograd.grad(out, leaves, upstream) for out in (found, wanted)]
    for got, right in zip(*grads, strict=True):
        torch.testing.assert_close(got, right)
