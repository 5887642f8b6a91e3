"""Layers that are computed in another way than they are written."""

import pytest
import torch

from presence.models.layers import AlignedLinear


@pytest.mark.parametrize("width", [9, 16, 17])
def test_filled_up_rows_change_nothing(width):
    torch.manual_seed(0)
    layer = AlignedLinear(width, 6).double()
    x = torch.randn(2, 7, width, dtype=torch.double, requires_grad=True)
    wanted = x @ layer.weight.T + layer.bias
    upstream, leaves = torch.randn_like(wanted), [x, *layer.parameters()]
    found = layer(x)
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad(out, leaves, upstream) for out in (found, wanted)]
    for got, right in zip(*grads, strict=True):
        torch.testing.assert_close(got, right)
