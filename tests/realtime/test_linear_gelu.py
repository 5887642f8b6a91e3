"""GELU inside a matrix product beside both layers in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F

from presence.models.layers import TransformerBlock
from presence.realtime.compiling import compile_blocks
from presence.realtime.linear_gelu import GeluMlp, fuse_gelu, linear_gelu

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@torch.no_grad()
def check(device, shape, width):
    torch.manual_seed(0)
    x = torch.randn(*shape, width, device=device).bfloat16()
    weight = (torch.randn(3 * width, width, device=device) / width**0.5).bfloat16()
    bias = torch.randn(3 * width, device=device).bfloat16()
    wanted = F.gelu(F.linear(x.double(), weight.double(), bias.double()))
    found = linear_gelu(x, weight, bias)
    assert found.shape == wanted.shape and found.dtype == torch.bfloat16
    assert (found - wanted).norm() / wanted.norm() < 5e-3
    # GELU's two forms, and bf16's last digit: of the product, and where it is not fused once more.
    assert ((found - wanted).abs() <= 0.005 + 0.01 * wanted.abs()).all()


@torch.no_grad()
def check_block(device, compiled):
    torch.manual_seed(0)
    block = TransformerBlock(64, 2).to(device).bfloat16()
    other = copy.deepcopy(block)
    assert fuse_gelu(other) == 1 and isinstance(other.mlp, GeluMlp)
    if compiled:
        compile_blocks(other)
    x = torch.randn(2, 40, 64, device=device).bfloat16()
    wanted, found = block(x), other(x)
    assert (found - wanted).norm() / wanted.norm() < 1e-2


@pytest.mark.parametrize(("shape", "width"), [((7,), 16), ((2, 3, 5), 64)])
def test_on_the_cpu(shape, width):
    check("cpu", shape, width)
    check_block("cpu", compiled=False)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(("shape", "width"), [((7,), 16), ((2, 3, 5), 64), ((1, 4097), 1536)])
def test_on_the_gpu(shape, width):
    check("cuda", shape, width)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_blocks_on_the_gpu(compiled):
    check_block("cuda", compiled)


def test_float32_blocks_are_left_alone():
    assert fuse_gelu(TransformerBlock(16, 2)) == 0
