"""Encoders around released networks: freezing, checkpoints, precision, input pictures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from presence.engine.checkpoint import load_weights
from presence.errors import AssetError
from presence.models.pretrained import PretrainedEncoder, freeze, load_trunk
from presence.models.vit import VisionTransformer
from presence.structures import Portrait


class Encoder(PretrainedEncoder):
    out_channels = 8

    def encode(self, images):
        with self.running(images) as inputs:
            return self.trunk(inputs)


def _make():
    return VisionTransformer(8, 1, 2, patch=4, grid=(4, 4))


def _encoder(weights="random", **changes):
    options = dict(frozen=True, dtype="float32")
    options.update({k: changes.pop(k) for k in ("frozen", "dtype") if k in changes})
    trunk, missing = load_trunk(
        _make, weights=weights, asset="sapiens_1b", official_name=str, **options
    )
    shown = dict(patch=4, image_size=16, mean=(0, 0, 0), std=(1, 1, 1), background="keep")
    return Encoder(trunk, missing, **{**shown, **changes}, **options)


def _portrait(height=16, width=16):
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(1, 3, height, width, generator=generator)
    return Portrait(rgb, (torch.rand(1, 1, height, width, generator=generator) > 0.5).float())


def test_a_frozen_network_is_neither_saved_nor_trained_nor_switched():
    encoder = _encoder()
    assert not encoder.state_dict() and not list(encoder.parameters())
    encoder.train()
    assert encoder.training and not any(m.training for m in encoder.trunk.modules())
    rgb = _portrait().rgb.requires_grad_()
    assert not encoder(_portrait().replace(rgb=rgb)).grid.requires_grad
    moved = encoder.to("meta")
    assert moved.trunk.position.device.type == "meta"  # buffers move with the module


def test_random_weights_are_the_same_every_time_and_leave_the_seed_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = _encoder()(_portrait()).grid
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(_encoder()(_portrait()).grid, first)


def test_a_trained_network_is_saved_and_a_checkpoint_replaces_the_official_file(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    trained = _encoder(frozen=False)
    assert len(trained.state_dict()) == len(_make().state_dict())
    without = _encoder("official", frozen=False)
    with pytest.raises(AssetError, match="Sapiens-1B, pretrained encoder is missing"):
        without(_portrait())
    load_weights(
        nn.ModuleDict(dict(encoder=without)),
        {f"encoder.{name}": value for name, value in trained.state_dict().items()},
    )
    assert torch.equal(without(_portrait()).grid, trained(_portrait()).grid)
    with pytest.raises(AssetError, match="is missing"):
        _encoder("official", frozen=True)


def test_a_trained_network_gets_gradients_and_keeps_float32_weights_under_bfloat16():
    encoder = _encoder(frozen=False, dtype="bfloat16")
    grid = encoder(_portrait()).grid
    assert grid.dtype == torch.float32
    grid.square().sum().backward()
    for name, p in encoder.named_parameters():
        assert p.dtype == torch.float32 and p.grad is not None, name


def test_float32_stays_float32_under_the_trainers_autocast():
    for frozen in (True, False):
        encoder = _encoder(frozen=frozen, dtype="float32")
        plain = encoder(_portrait()).grid
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(encoder(_portrait()).grid, plain)


def test_a_frozen_bfloat16_network_does_the_same_with_and_without_autocast():
    encoder = _encoder(dtype="bfloat16")
    plain = encoder(_portrait()).grid
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder(_portrait()).grid, plain)


def test_a_file_fills_the_network_in_its_own_type(tmp_path):
    tensors = {k: v.to(torch.float16) for k, v in _make().state_dict().items()}
    torch.save(tensors, tmp_path / "half.pth")
    full = _encoder(str(tmp_path / "half.pth"))
    half = _encoder(str(tmp_path / "half.pth"), dtype="bfloat16")
    for name, value in full.trunk.named_buffers():
        assert value.dtype == torch.float32 and torch.equal(value, tensors[name].float())
        assert half.trunk.get_buffer(name).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("image_size", "portrait", "expected"),
    [
        (64, (512, 512), (64, 64)),
        (64, (512, 384), (64, 48)),
        (64, (300, 400), (48, 64)),
        (64, (1000, 10), (64, 4)),  # at least one patch
        ((32, 16), (512, 384), (32, 16)),
    ],
)
def test_the_input_keeps_the_portraits_shape(image_size, portrait, expected):
    encoder = _encoder(image_size=image_size)
    assert encoder.input_size(*portrait) == expected
    assert encoder.prepare(_portrait(*portrait)).shape[-2:] == expected


def test_the_background_is_replaced_before_resizing_and_normalising():
    portrait = _portrait(32, 32)
    for name, colour in (("white", 1.0), ("black", 0.0)):
        encoder = _encoder(background=name, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
        shown = portrait.rgb * portrait.alpha + colour * (1 - portrait.alpha)
        blocks = torch.nn.functional.interpolate(
            shown, size=(16, 16), mode="bicubic", antialias=True
        ).clamp(0, 1)
        mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.1])
        expected = (blocks - mean[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(encoder.prepare(portrait), expected)
    kept = _encoder(background="keep", image_size=32).prepare(portrait)
    assert torch.equal(kept, portrait.rgb)


def test_freezing_keeps_the_result_and_the_buffers_type():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net[1].running_var.fill_(2.0)
    x = torch.randn(5, 3)
    expected = net.eval()(x)
    half = copy.deepcopy(net)
    freeze(net, torch.float32)
    assert torch.equal(net(x), expected)
    freeze(half, torch.bfloat16)
    assert half[0].weight.dtype == half[1].bias.dtype == torch.bfloat16
    assert half[1].running_var.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("frozen", [True, False])
def test_cuda_equals_cpu(frozen):
    portrait = _portrait()
    encoder = _encoder(frozen=frozen)
    expected = encoder(portrait).grid
    got = encoder.cuda()(portrait.to("cuda")).grid.cpu()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    half = _encoder(frozen=frozen, dtype="bfloat16").cuda()(portrait.to("cuda")).grid.cpu()
    assert (half - expected).norm() / expected.norm() < 0.02
