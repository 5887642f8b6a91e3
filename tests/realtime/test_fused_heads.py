"""The fused heads beside torch's layers."""

import pytest
import torch
from torch import nn

from presence.models.layers import two_layer_mlp
from presence.realtime.heads import FusedHeads, unsuitable
from presence.realtime.heads_training import train_heads

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CASES = [((1, 70), 16, 64), ((2, 33), 20, 128)]


@torch.no_grad()
def check(shape, channels, hidden, device, dtype):
    torch.manual_seed(0)
    sizes = dict(color=3, opacity=1, offset=3, rotation=4, scale=3)
    mlps = nn.ModuleDict({n: two_layer_mlp(channels, hidden, s) for n, s in sizes.items()})
    for mlp in mlps.values():
        nn.init.normal_(mlp[2].bias)
    mlps.to(device)
    texels = torch.randn(*shape, channels, device=device)
    found = FusedHeads(mlps, dtype=dtype)(texels)
    for name, mlp in mlps.items():
        wanted = mlp.double()(texels.double())
        assert found[name].shape == wanted.shape and found[name].dtype == torch.float32
        error = float((found[name] - wanted).norm() / wanted.norm())
        # The operands are rounded to bf16, or on a GPU to tf32 (5e-4 each).
        assert error < (1e-2 if dtype == torch.bfloat16 else 2e-3), (name, error)


def check_training(shape, channels, hidden, device, dtype):
    """Outputs and all gradients beside torch's in float64."""
    torch.manual_seed(0)
    sizes = dict(color=3, opacity=1, offset=3, rotation=4, scale=3)
    mlps = nn.ModuleDict({n: two_layer_mlp(channels, hidden, s) for n, s in sizes.items()})
    mlps.to(device)
    texels = torch.randn(*shape, channels, device=device, requires_grad=True)
    upstream = {n: torch.randn(*shape, s, device=device) for n, s in sizes.items()}

    def gradients(outputs):
        total = sum((outputs[n] * upstream[n]).sum() for n in sizes)
        return torch.autograd.grad(total, [texels, *mlps.parameters()])

    found = train_heads(mlps, texels, dtype=dtype)
    got = [*found.values(), *gradients(found)]
    mlps.double()
    wanted = {n: mlp(texels.double()) for n, mlp in mlps.items()}
    for one, right in zip(got, [*wanted.values(), *gradients(wanted)], strict=True):
        assert one.shape == right.shape and one.dtype == torch.float32
        error = float((one - right).norm() / right.norm())
        assert error < (1e-2 if dtype == torch.bfloat16 else 2e-3), error


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", [*CASES, ((3, 20_011), 16, 256)])
def test_training_on_the_gpu(case, dtype):
    check_training(*case, "cuda", dtype)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("case", [*CASES, ((3, 20_011), 16, 256)])
def test_on_the_gpu(case, dtype):
    check(*case, "cuda", dtype)


def test_in_the_interpreter(run_interpreted):
    run_interpreted(
        "import torch, test_fused_heads as tests\n"  # numpy, behind the interpreter, has no bf16
        "from presence.realtime import heads_training\n"
        "heads_training.PARTS = 2\n"
        "for case in tests.CASES:\n"
        "    tests.check(*case, 'cpu', torch.float32)\n"
        "    tests.check_training(*case, 'cpu', torch.float32)"
    )


def test_what_cannot_be_fused_is_named():
    good = {"a": two_layer_mlp(16, 64, 3)}
    assert unsuitable(nn.ModuleDict(good)) is None
    assert "no multiple" in unsuitable(nn.ModuleDict({"a": two_layer_mlp(16, 60, 3)}))
    assert "differ" in unsuitable(nn.ModuleDict(good | {"b": two_layer_mlp(8, 64, 3)}))
    assert "outputs" in unsuitable(nn.ModuleDict(good | {"b": two_layer_mlp(16, 64, 14)}))
    with pytest.raises(ValueError, match="cannot be fused"):
        FusedHeads(nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2))}))
