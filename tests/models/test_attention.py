"""Which attention kernel is preferred, and for how long."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from presence.models.attention import BACKENDS, attention_kernels, resolve_attention
from presence.models.layers import TransformerBlock

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def preferred():
    """The first of torch's order that is switched on."""
    on = {
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "cudnn": torch.backends.cuda.cudnn_sdp_enabled(),
    }
    numbers = {int(backend): name for name, backend in BACKENDS.items()}
    order = [numbers[n] for n in torch._C._get_sdp_priority_order() if n in numbers]
    return next(name for name in order if on[name])


@pytest.mark.parametrize("first", BACKENDS)
def test_a_kernel_is_preferred_within_the_block_alone(first):
    before = preferred()
    with attention_kernels(first):
        assert preferred() == first
        q, k, v = torch.randn(3, 1, 2, 5, 8)
        mixed = F.scaled_dot_product_attention(q, k, v)
    assert preferred() == before
    wanted = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1) @ v
    torch.testing.assert_close(mixed, wanted)


def test_torch_keeps_its_own_order():
    before = preferred()
    with attention_kernels("torch"):
        assert preferred() == before


def test_only_a_choice_is_measured():
    block, cpu = TransformerBlock(16, 2), torch.device("cpu")
    assert resolve_attention("cudnn", block, cpu) == "cudnn"
    assert resolve_attention("auto", block, cpu) == "torch"
    assert resolve_attention("auto", nn.Linear(2, 2), torch.device("cuda")) == "torch"


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("backward", [False, True])
def test_auto_measures_on_the_gpu(backward):
    notes = []
    block = TransformerBlock(128, 2)
    chosen = resolve_attention(
        "auto", block, torch.device("cuda"), tokens=300, backward=backward, notes=notes
    )
    assert chosen in BACKENDS and any(f"attention {chosen}:" in note for note in notes)
