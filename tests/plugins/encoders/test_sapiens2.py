"""Sapiens2: the released names, timm's own reading of them, and the encoder around it."""

from __future__ import annotations

import pytest
import torch

from presence.errors import AssetError
from presence.structures import Portrait
from presence_plugins.encoders.sapiens2 import Sapiens2Encoder, build_sapiens2, official_name

timm = pytest.importorskip("timm", reason="Sapiens2 needs the package timm")
OPTIONS = dict(size="0.1b", depth=2, image_size=64, dtype="float32")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    net = timm.create_model(
        "vit_base_patch16_sapiens2", pretrained=False, num_classes=0, depth=2, num_kv_heads=12
    )
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p), alpha=0.05)
    return net.eval()


@pytest.fixture(scope="module")
def released(network):
    tensors = {official_name(k): v.clone() for k, v in network.state_dict().items()}
    return {**tensors, "mask_token": torch.zeros(1, 1, 768), "rope_embed.periods": torch.ones(16)}


def test_names_are_those_that_timm_converts(network, released):
    from timm.models.eva import checkpoint_filter_fn

    converted = checkpoint_filter_fn(dict(released), network)
    own = network.state_dict()
    assert converted.keys() == own.keys()
    assert all(torch.equal(converted[k], own[k]) for k in own)


def test_a_file_becomes_an_encoder(network, released, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "sapiens2_0.1b_pretrain.safetensors"
    save_file(released, path)
    encoder = Sapiens2Encoder(weights=str(path), **OPTIONS)
    generator = torch.Generator().manual_seed(5)
    portrait = Portrait(torch.rand(2, 3, 64, 48, generator=generator), torch.ones(2, 1, 64, 48))
    features = encoder(portrait).grid
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network.forward_intermediates(
            (portrait.rgb - mean[:, None, None]) / std[:, None, None],
            indices=1,
            norm=True,
            intermediates_only=True,
        )[0]
    assert features.shape == (2, 768, 4, 3) == (2, encoder.out_channels, 4, 3)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert not list(encoder.parameters()) and not encoder.state_dict()


def test_missing_names_are_the_files_own(released, tmp_path):
    torch.save({k: v for k, v in released.items() if "attn.wk.bias" not in k}, tmp_path / "s.pth")
    with pytest.raises(AssetError, match=r"missing: blocks.\{0-1\}.attn.wk.bias$"):
        Sapiens2Encoder(weights=str(tmp_path / "s.pth"), **OPTIONS)


def test_bfloat16_keeps_the_rotary_tables_exact():
    half = Sapiens2Encoder(weights="random", **{**OPTIONS, "dtype": "bfloat16"})
    full = Sapiens2Encoder(weights="random", **OPTIONS)
    assert half.trunk.rope.periods.dtype == torch.float32
    portrait = Portrait(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    a, b = half(portrait).grid, full(portrait).grid
    assert 1e-4 < (a - b).norm() / b.norm() < 0.03


def test_grouped_queries_keep_their_place_when_cut():
    with torch.device("meta"):
        whole, cut = build_sapiens2("0.4b"), build_sapiens2("0.4b", 9)
    rows = [block.attn.k_proj.weight.shape[0] for block in whole.blocks]
    assert rows == [1024] * 8 + [512] * 8 + [1024] * 8
    assert [block.attn.k_proj.weight.shape[0] for block in cut.blocks] == rows[:9]
