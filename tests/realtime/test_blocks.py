"""Fused transformer blocks beside the ones they replace."""

import copy

import pytest
import torch
from torch import nn

from presence.models.layers import TransformerBlock
from presence.models.vit import ViTBlock
from presence.realtime.blocks import (
    FusedTransformerBlock,
    FusedViTBlock,
    add_norm,
    fuse_blocks,
    suitable,
)
from presence.realtime.linear_gelu import fuse_gelu

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@torch.no_grad()
def check_add_norm(width, device, dtype):
    torch.manual_seed(0)
    norm = nn.LayerNorm(width, eps=1e-3).to(device)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, change = (torch.randn(3, 5, width, device=device).to(dtype) for _ in range(2))
    scale, shift = (torch.randn(width, device=device) for _ in range(2))
    wanted = x.double() + scale.double() * change.double()
    close = dict(atol=2e-5, rtol=2e-5) if dtype == torch.float32 else dict(atol=0.04, rtol=0.02)
    options = dict(change=change, scale=scale, total=dtype, normed=dtype)
    for given, added in ((None, 0.0), (shift, shift.double())):
        total, normed = add_norm(x, norm, shift=given, **options)
        torch.testing.assert_close(total.double(), wanted + added, **close)
        right = copy.deepcopy(norm).double()(wanted)
        torch.testing.assert_close(normed.double(), right, **close)
        assert total.dtype == normed.dtype == dtype
    alone, normed = add_norm(x, norm, normed=dtype)
    assert not alone.numel()
    right = copy.deepcopy(norm).double()(x.double())
    torch.testing.assert_close(normed.double(), right, **close)
    total, none = add_norm(x, change=change, total=dtype)
    assert not none.numel()
    torch.testing.assert_close(total.double(), x.double() + change.double(), **close)


def make(kind, dtype):
    torch.manual_seed(0)
    if kind == "vit":
        block = ViTBlock(96, 3, mlp="gelu", layer_scale=False)
    else:
        block = TransformerBlock(96, 3)
        nn.init.normal_(block.scale1)
        nn.init.normal_(block.scale2)
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    for layer in block.modules():
        if isinstance(layer, nn.Linear) or kind == "vit":
            layer.to(dtype)
    return block


@torch.no_grad()
def check_block(kind, device, dtype, gelu="exact"):
    block = make(kind, dtype).to(device)
    other = copy.deepcopy(block)
    if gelu == "tanh":
        assert fuse_gelu(other) == 1
    fused = (FusedViTBlock if kind == "vit" else FusedTransformerBlock)(other)
    x = torch.randn(2, 37, 96, device=device).to(dtype if kind == "vit" else torch.float32)
    kept = x.clone()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = fused(x)
    wanted = block.double()(x.double())
    assert torch.equal(x, kept)
    error = float((found - wanted).norm() / wanted.norm())
    assert error < (1e-5 if dtype == torch.float32 else 1e-2), error


def check_interpreted():
    """What numpy's types allow: everything but bf16."""
    for width in (7, 64, 96):
        check_add_norm(width, "cpu", torch.float32)
    for kind in ("vit", "transformer"):
        check_block(kind, "cpu", torch.float32)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [7, 1024, 1536])
def test_sums_and_norms_on_the_gpu(width, dtype):
    check_add_norm(width, "cuda", dtype)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("gelu", ["exact", "tanh"])
@pytest.mark.parametrize("kind", ["vit", "transformer"])
def test_blocks_on_the_gpu(kind, gelu):
    check_block(kind, "cuda", torch.bfloat16, gelu)


def test_in_the_interpreter(run_interpreted):
    run_interpreted("import test_blocks as tests; tests.check_interpreted()")


def test_only_suitable_blocks_are_replaced(monkeypatch):
    monkeypatch.setattr("presence.realtime.blocks.has_triton", lambda: True)
    half, whole = torch.bfloat16, torch.float32
    scaled = ViTBlock(16, 2, mlp="gelu", layer_scale=True).to(half)
    gated = ViTBlock(16, 2, mlp="swiglu", layer_scale=False).to(half)
    model = nn.ModuleList([make("vit", half), make("transformer", half), make("vit", whole)])
    model.extend([scaled, gated])
    assert [suitable(block) for block in model] == [True, True, False, False, False]
    assert fuse_blocks(model) == 2
    assert fuse_blocks(model) == 0
    assert isinstance(model[0], FusedViTBlock) and isinstance(model[1], FusedTransformerBlock)
