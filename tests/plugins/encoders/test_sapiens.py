"""Sapiens against outputs of the official code, in every container that it is released in."""

from __future__ import annotations

import re

import pytest
import torch
from official_weights import Golden
from torch import nn

from presence.errors import AssetError
from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly
from presence.structures import Portrait
from presence_plugins.encoders.sapiens import SIZES, SapiensEncoder, official_name

PARITY = 1e-5


def _is_needed_for_one_block(key):
    return key.startswith("backbone.") and not re.match(r"backbone\.layers\.[1-9]", key)


@pytest.mark.slow
def test_1b_equals_the_official_network():
    golden = Golden("sapiens_1b_pretrain")
    with torch.device("meta"):
        net = VisionTransformer(1536, 4, 24)
    fill_strictly(net, golden.weights(), source="golden", official_name=official_name)
    with torch.no_grad():
        first, third, last = net.tokens(golden.image("a"), [0, 2, 3])
        features = net.to_map(net.norm(last), (64, 64))
    assert golden.error("a.block0", first) < PARITY
    assert golden.error("a.block2", third) < PARITY
    assert golden.error("a.features", features) < PARITY
    assert golden.error("a.features_cell_10_20", features[:, :, 10, 20]) < PARITY


@pytest.mark.slow
def test_1b_with_padded_patches_and_no_class_token_equals_the_official_pose_backbone():
    golden = Golden("sapiens_1b_pose")
    with torch.device("meta"):
        net = VisionTransformer(1536, 1, 24, grid=(64, 48), class_token=False, patch_padding=2)
    weights = golden.weights(_is_needed_for_one_block)
    tensors = {k.removeprefix("backbone."): v for k, v in weights.items()}
    fill_strictly(net, tensors, source="golden", official_name=official_name)
    with torch.no_grad():
        (first,) = net.tokens(golden.image("a"), [0])
    assert golden.error("a.block0", first) < PARITY


@pytest.mark.parametrize(
    ("name", "prefix", "options"),
    [
        ("sapiens_1b_pretrain", "", {}),
        (
            "sapiens_1b_pose",
            "backbone.",
            dict(grid=(64, 48), class_token=False, patch_padding=2),
        ),
    ],
)
def test_the_40_layer_network_has_the_released_names_and_shapes(name, prefix, options):
    layout = Golden(name).manifest["layout_full"]
    with torch.device("meta"):
        net = VisionTransformer(1536, 40, 24, **options)
    ours = {prefix + official_name(k): list(v.shape) for k, v in net.state_dict().items()}
    assert ours == {k: v for k, v in layout.items() if not k.startswith("head.")}


def test_every_size_lacks_only_the_reconstruction_decoder_of_its_published_count():
    published = {"0.3b": 0.336e9, "0.6b": 0.664e9, "1b": 1.169e9, "2b": 2.163e9}  # table 1
    for size, (width, depth, heads) in SIZES.items():
        with torch.device("meta"):
            count = sum(p.numel() for p in VisionTransformer(width, depth, heads).parameters())
        assert 0.0275e9 < published[size] - count < 0.0295e9  # the same decoder for every size


@pytest.fixture(scope="module")
def released():
    """A 0.3B file cut to one layer: official name to tensor."""
    torch.manual_seed(2)
    net = VisionTransformer(1024, 1, 16)
    return {official_name(k): v.clone() for k, v in net.state_dict().items()}


@pytest.fixture(scope="module")
def portrait():
    generator = torch.Generator().manual_seed(5)
    rgb = torch.rand(2, 3, 64, 48, generator=generator)
    return Portrait(rgb, torch.ones(2, 1, 64, 48))


@pytest.fixture(scope="module")
def expected(released, portrait):
    net = VisionTransformer(1024, 1, 16)
    fill_strictly(net, released, source="test", official_name=official_name)
    mean = torch.tensor([123.5, 116.5, 103.5]).view(3, 1, 1) / 255
    std = torch.tensor([58.5, 57.0, 57.5]).view(3, 1, 1) / 255
    with torch.no_grad():
        return net((portrait.rgb - mean) / std)


def _scripted(tensors):
    """A scripted module whose attributes have the official names, as the released archives."""
    root = nn.Module()
    for key, value in tensors.items():
        node, parts = root, key.split(".")
        for part in parts[:-1]:
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node._modules[part]
        node.register_parameter(parts[-1], nn.Parameter(value.clone()))

    class Program(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = root

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert False, "the program must not run"  # noqa: B011

    return torch.jit.script(Program())


def _write(kind, tensors, path):
    from safetensors.torch import save_file

    if kind == "plain":
        torch.save(tensors, path)
    elif kind == "nested":
        torch.save({"meta": {"epoch": 173}, "state_dict": tensors}, path)
    elif kind == "legacy":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif kind == "whole network":
        rest = {"head.deconv_layers.0.weight": torch.ones(3), "neck.ln.bias": torch.ones(2)}
        torch.save({**{f"backbone.{k}": v for k, v in tensors.items()}, **rest}, path)
    elif kind == "safetensors":
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    else:
        torch.jit.save(_scripted(tensors), path)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("plain", "sapiens.pth"),
        ("nested", "sapiens.pth"),
        ("legacy", "sapiens.pth"),
        ("whole network", "sapiens.pth"),
        ("safetensors", "sapiens.safetensors"),
        ("torchscript", "sapiens_torchscript.pt2"),
    ],
)
def test_every_container_gives_the_same_encoder(kind, name, released, portrait, expected, tmp_path):
    _write(kind, released, tmp_path / name)
    encoder = SapiensEncoder(
        size="0.3b", depth=1, weights=str(tmp_path / name), image_size=64, dtype="float32"
    )
    features = encoder(portrait).grid
    assert features.shape == (2, 1024, 4, 3)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_wrong_files_name_what_differs(released, tmp_path):
    torch.save(released, tmp_path / "sapiens.pth")
    options = dict(weights=str(tmp_path / "sapiens.pth"), image_size=64)
    with pytest.raises(AssetError, match=r"missing: layers.1.ln1.weight.*layers.1.ffn.layers.1"):
        SapiensEncoder(size="0.3b", depth=2, **options)
    with pytest.raises(AssetError, match=r"cls_token is \[1, 1, 1024\], not \[1, 1, 1280\]"):
        SapiensEncoder(size="0.6b", depth=1, **options)
    extra = {**released, "layers.7.ln1.weight": torch.ones(1)}
    torch.save(extra, tmp_path / "sapiens.pth")
    with pytest.raises(AssetError, match="left over: layers.7.ln1.weight"):
        SapiensEncoder(size="0.3b", depth=1, **options)


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    with pytest.raises(AssetError, match=r"Sapiens-0.3B.*CC BY-NC 4.0.*facebook/sapiens-pretrain"):
        SapiensEncoder(size="0.3b", depth=1)


def test_bfloat16_stays_near_float32(portrait):
    options = dict(size="0.3b", depth=1, weights="random", image_size=64)
    full = SapiensEncoder(dtype="float32", **options)(portrait).grid
    half_encoder = SapiensEncoder(**options)
    assert half_encoder.trunk.blocks[0].mlp[0].weight.dtype == torch.bfloat16
    half = half_encoder(portrait).grid
    assert half.dtype == torch.float32
    error = (half - full).norm() / full.norm()
    assert 1e-4 < error < 0.02  # 8 bits of mantissa: rounded, and not by much
